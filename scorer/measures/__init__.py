"""Measures of a ranking and of probabilities."""
