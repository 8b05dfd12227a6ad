"""Pictures to a data set: the pipeline, its engines and its filters."""
