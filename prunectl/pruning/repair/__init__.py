"""Repair: what a pruned network has lost, taken back from the dense one without training."""
