"""Grids of pipelines: shared stages run once, finished stages are kept."""
