"""`clothseg prepare` and `clothseg verify`: any source becomes one layout of photos, masks and a manifest."""
