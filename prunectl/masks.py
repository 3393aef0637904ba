"""Masks: which entries of which parameters are kept."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from prunectl.errors import CheckpointError, OptionError, PrunectlError

_BITS = (1, 2, 4, 8, 16, 32, 64, 128)
_PIECE = 1 << 20
"""Number of entries packed at once, so that intermediate tensors stay small beside a large mask."""
_REPARAMETRISED = (
    ({"weight_orig", "weight_u"}, "the older spectral_norm", "remove_spectral_norm(layer)"),
    ({"weight_g", "weight_v"}, "the older weight_norm", "remove_weight_norm(layer)"),
)
"""Tensors that replace a weight, what replaced it, and the function that undoes it."""
PRUNABLE = (nn.Linear, nn.modules.conv._ConvNd)


@dataclass(frozen=True, eq=False)
class Masks(Mapping[str, Tensor]):
    """Parameter name -> bool tensor of its shape, True = kept; a parameter without an entry is kept whole."""

    tensors: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        for name, mask in self.tensors.items():
            if mask.dtype != torch.bool:
                raise PrunectlError(f"the mask of {name} must be bool, got {mask.dtype}")

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    @staticmethod
    def dense() -> "Masks":
        """Masks that prune nothing."""
        return Masks({})

    def of(self, name: str, parameter: Tensor) -> Tensor:
        """The mask of a parameter; all True if it has no entry."""
        return self[name] if name in self.tensors else torch.ones_like(parameter, dtype=torch.bool)

    def count(self, name: str, parameter: Tensor | torch.Size) -> int:
        """The number of kept entries of a parameter, or of one of that shape."""
        return int(self[name].count_nonzero()) if name in self.tensors else parameter.numel()

    def to(self, device: torch.device) -> "Masks":
        """Move every mask to a device."""
        return Masks({name: mask.to(device) for name, mask in self.items()})

    def check(self, model: nn.Module, where: str) -> None:
        """Refuse masks of parameters that the network does not have in that shape.

        Raises:
            CheckpointError: a name or shape does not fit.
        """
        parameters = dict(model.named_parameters())
        for name, mask in self.items():
            if name not in parameters or parameters[name].shape != mask.shape:
                found = tuple(parameters[name].shape) if name in parameters else "no such parameter"
                raise CheckpointError(
                    f"{where}: the mask of {name} has shape {tuple(mask.shape)}, the network has {found}"
                )

    def apply_(self, model: nn.Module) -> None:
        """Set every pruned entry of the network's parameters to zero."""
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in self.tensors:
                    parameter.masked_fill_(~self[name], 0)

    def beyond(self, other: "Masks") -> dict[str, Tensor]:
        """The entries that these masks keep and `other` does not, by parameter; only where they differ."""
        more = {n: m & ~other[n] for n, m in self.items() if n in other and m.shape == other[n].shape}
        return {name: mask for name, mask in more.items() if mask.any()}

    def kept(self, model: nn.Module) -> int:
        """The number of prunable weights of the network that are kept."""
        return sum(self.count(name, weight) for name, weight in prunable(model).items())


def prunable(model: nn.Module) -> dict[str, Tensor]:
    """The prunable weights by name: those of every conv and linear layer, in the model's order, tied ones once."""
    named = dict(model.named_parameters())
    layers = {f"{name}.weight" if name else "weight" for name, m in model.named_modules() if isinstance(m, PRUNABLE)}
    return {name: parameter for name, parameter in named.items() if name in layers}


def input_axes(model: nn.Module) -> dict[str, int | None]:
    """The input axis of every prunable weight; None if the groups of a transposed convolution split it."""
    axes: dict[str, int | None] = dict.fromkeys(prunable(model), 1)
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.conv._ConvTransposeNd):
            axes[f"{name}.weight" if name else "weight"] = 0 if module.groups == 1 else None
    return {name: axes[name] for name in prunable(model)}


def check_prunable(model: nn.Module, *, all_layers: bool) -> None:
    """Refuse a network without prunable weights, and one with masks of torch.nn.utils.prune.

    With `all_layers`, also one where some layer computes its weight.

    Raises:
        OptionError: names the layer.
    """
    for name, module in model.named_modules():
        for key in (key.removesuffix("_mask") for key in module._buffers if key.endswith("_mask")):
            if f"{key}_orig" in module._parameters:
                raise OptionError(
                    f"layer {name or type(module).__name__} has a mask of torch.nn.utils.prune on its {key}; make it "
                    f"permanent first: torch.nn.utils.prune.remove(layer, {key!r})"
                )
        undo = _undoing(module)
        if undo is not None and (all_layers or not prunable(model)):
            raise OptionError(
                f"layer {name or type(module).__name__} computes its weight ({undo[0]}), so no mask can prune it; "
                f"remove that first: torch.nn.utils.{undo[1]}"
            )
    if not prunable(model):
        raise OptionError(
            "the network has no convolution or linear layer, so nothing can be pruned; use another network"
        )


def _undoing(module: nn.Module) -> tuple[str, str] | None:
    """What computes the weight of a prunable layer, and the function in torch.nn.utils that undoes it."""
    if not isinstance(module, PRUNABLE):
        return None
    if is_parametrized(module, "weight"):
        return "weight_norm or spectral_norm", "parametrize.remove_parametrizations(layer, 'weight')"
    names = {*module._parameters, *module._buffers}
    for parts, by, undo in _REPARAMETRISED:
        if parts <= names:
            return by, undo
    return None


def pack(mask: Tensor) -> Tensor:
    """Pack a bool tensor into U8 bits, row-major, the first entry in the lowest bit."""
    parts = torch.split(mask.flatten(), _PIECE)
    return torch.cat([_packed(part) for part in parts]) if mask.numel() else _packed(mask.flatten())


def _packed(flat: Tensor) -> Tensor:
    padded = torch.nn.functional.pad(flat.to(torch.uint8), (0, -len(flat) % 8)).view(-1, 8)
    return (padded * torch.tensor(_BITS, dtype=torch.uint8, device=flat.device)).sum(1, dtype=torch.uint8)


def unpack(bits: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undo `pack`.

    Raises:
        ValueError, RuntimeError: `pack` did not make these bits.
    """
    if bits.dtype != torch.uint8 or bits.ndim != 1:
        raise ValueError(f"expected a row of bytes, found {tuple(bits.shape)} of {bits.dtype}")
    count = torch.Size(shape).numel()
    flat = torch.empty(8 * len(bits), dtype=torch.bool, device=bits.device)
    places = torch.tensor(_BITS, dtype=torch.uint8, device=bits.device)
    for part, spread in zip(torch.split(bits, _PIECE // 8), torch.split(flat, _PIECE), strict=True):
        torch.ne(part[:, None] & places, 0, out=spread.view(-1, 8))
    return flat[:count].view(shape)
