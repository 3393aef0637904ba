"""Files: checkpoints, masks, results, histories. The one place that knows their formats."""
