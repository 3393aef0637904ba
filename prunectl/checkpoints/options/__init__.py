"""The options of the commands that lead to a checkpoint, one frozen dataclass per command, without torch.

Their fields define the history, the flags of `log` and `rerun`, and what a stranger's file may hold.
"""
