"""Accuracy under attacks and corruptions; attacks that foolbox lacks are in `attacks/`."""
