"""Small helpers around torch that know nothing about pruning."""
