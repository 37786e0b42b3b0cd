"""What readers have in common: orders, formats, buffers, and loaders ahead of the step."""
