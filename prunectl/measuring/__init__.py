"""Measures networks: accuracy, FLOPs, latency, memory, structure."""
