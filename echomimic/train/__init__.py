"""Training: the paper's two stages, and what a model from scratch needs before them."""
