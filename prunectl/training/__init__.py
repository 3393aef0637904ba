"""Training a checkpoint with its masks held, and pruning between epochs."""
