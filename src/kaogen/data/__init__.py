"""Pictures to data set: tag them, pack them, read them back."""
