"""How good a model is: scores with intervals at the photos' own size, and two models side by side."""
