"""Sampling in small pure functions, none of which knows the model."""
