"""Checkpoints side by side: rows, curves and their formats from headers, results and logs, without torch.

The page is in `page/`.
"""
