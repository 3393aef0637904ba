"""Pruning a checkpoint: scores in, masks out, and shrinking. Nothing here trains or measures accuracy."""
