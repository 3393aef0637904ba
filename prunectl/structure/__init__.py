"""The structure engine: which axes of which tensors belong to one node.

Tracing, labels, nodes; `rules/` for operations, `surgery/` for cutting.
"""
