"""The options of the commands that lead to a checkpoint: a frozen dataclass each, without torch.

A history, the flags of `log` and `rerun`, and what a stranger's file may hold follow from their fields.
"""
