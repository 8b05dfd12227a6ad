"""Other programs' formats, and our own way out of torch."""
