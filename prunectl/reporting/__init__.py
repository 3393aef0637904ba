"""Compares checkpoints: rows, curves and their formats, from headers, results and logs, without torch.

The HTML page is in `page/`; `network/` analyses networks for it, with torch.
"""
