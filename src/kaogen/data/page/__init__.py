"""One page that shows a data set."""
