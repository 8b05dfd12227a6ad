"""Torch networks: they know nothing of training, files or the web."""
