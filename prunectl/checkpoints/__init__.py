"""Files: checkpoints, masks, results, histories. Only this package knows their formats."""
