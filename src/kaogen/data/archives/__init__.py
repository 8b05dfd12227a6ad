"""Data set files of all kinds: read, written, merged, split, checked, converted."""
