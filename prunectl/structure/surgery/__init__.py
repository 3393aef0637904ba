"""Makes the smaller network: cuts tensors, edits modules or the graph, and proves the result."""
