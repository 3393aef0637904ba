"""Training under masks, and pruning between epochs."""
