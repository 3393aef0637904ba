"""Accuracy under attacks and corruptions; the attacks that foolbox lacks are in `attacks/`."""
