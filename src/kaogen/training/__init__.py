"""Data set in, trained networks out."""
