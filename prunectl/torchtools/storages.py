"""Tensors known by their storage, which their views share, whether a module uses them or a graph."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor


class Storages:
    """The names of some tensors; these must live as long as they are asked for."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.names = {tensor.untyped_storage()._cdata: name for name, tensor in tensors.items()}

    def name(self, value: Any) -> str | None:
        """The one of them that it is a view of; None if there is none, or if it is not a tensor."""
        return self.names.get(value.untyped_storage()._cdata) if isinstance(value, Tensor) else None

    def among(self, values: Iterable[Any]) -> list[str]:
        """The names of those among some values."""
        return [name for name in map(self.name, values) if name is not None]
