"""What a network reaches and costs: accuracy, FLOPs, latency, memory, structure."""
