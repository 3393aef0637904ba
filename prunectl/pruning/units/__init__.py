"""The units of pruning, one file each: weights, nodes, both."""
