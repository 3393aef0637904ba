"""The structure engine: finds which axes of which tensors belong to one node.

Tracing, labels and nodes are here; `rules/` has the operations, `surgery/` removes nodes.
"""
