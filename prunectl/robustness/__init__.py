"""What measuring robustness takes: attacks by name, counts, doubts, pictures."""
