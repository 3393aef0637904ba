"""Repair: recovers what a pruned network has lost, from the dense one, without training."""
