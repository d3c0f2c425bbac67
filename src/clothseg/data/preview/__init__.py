"""`clothseg preview`: pictures of what training will see, and a card of the whole data set."""
