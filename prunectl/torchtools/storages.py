"""Identifies tensors by their storage, which their views share."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor


class Storages:
    """The names of some tensors, which must stay alive while names are looked up."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.names = {tensor.untyped_storage()._cdata: name for name, tensor in tensors.items()}

    def name(self, value: Any) -> str | None:
        """The name of the tensor that a value is a view of; None if there is none or it is not a tensor."""
        return self.names.get(value.untyped_storage()._cdata) if isinstance(value, Tensor) else None

    def among(self, values: Iterable[Any]) -> list[str]:
        """The names of those that are among the values."""
        return [name for name in map(self.name, values) if name is not None]
