"""Prunes and shrinks checkpoints: scores in, masks out. Nothing here trains or measures accuracy."""
