"""Grids of pipelines: what they share is computed once, and what is done stays done."""
