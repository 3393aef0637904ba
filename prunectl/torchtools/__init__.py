"""Small helpers around torch that know nothing of pruning."""
