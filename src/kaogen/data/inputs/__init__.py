"""Where pictures come from, and what stands beside them."""
