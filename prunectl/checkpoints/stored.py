"""The tensors of a checkpoint's file."""

from collections import UserDict
from collections.abc import Mapping

from torch import Tensor

from prunectl.masks import Masks


class Stored(UserDict[str, Tensor]):
    """The tensors of a network on the cpu, zero where masks prune; a masked one is made when it is asked for."""

    def __init__(self, state: Mapping[str, Tensor], masks: Masks) -> None:
        super().__init__(state)
        self.masks = masks

    def __getitem__(self, name: str) -> Tensor:
        tensor = super().__getitem__(name).detach().cpu()
        return tensor.masked_fill(~self.masks[name].cpu(), 0) if name in self.masks else tensor
