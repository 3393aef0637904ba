"""Checkpoints compared: rows, curves and their formats, read from headers, results and logs without torch.

The HTML page is in `page/`; `network/` analyses one network for it, with torch.
"""
