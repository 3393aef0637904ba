"""Making the smaller network from the structure: cutting tensors, editing modules or the graph, and the proof."""
