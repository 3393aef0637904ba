"""Fills a network with the tensors of a file, and names what does not fit."""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunectl.errors import CheckpointError
from prunectl.exchange.matching import Matched
from prunectl.exchange.mismatch import other_names, other_shapes
from prunectl.plugins.patterns import fits
from prunectl.torchtools.mapped_pages import CopiedOut
from prunectl.torchtools.pieces import all_finite


@dataclass(frozen=True)
class Filled:
    """What filling a network left over: its tensors that stay fresh, and the file's tensors that it does not have.

    `converted` are the types that the file has instead of the network's own.
    """

    fresh: tuple[str, ...]
    unused: tuple[str, ...]
    converted: tuple[str, ...]


def fill_(
    model: nn.Module,
    matched: Matched,
    allowed: Sequence[str],
    where: str,
    *,
    image: tuple[int, ...] = (),
    classes: int | None = None,
    mapped: bool = False,
) -> Filled:
    """Copy tensors into a network, under names that its modules may convert from those of their earlier versions.

    `image` (C, H, W) and `classes` are those it was built for; errors use them to suggest others. Names that match a
    pattern of `allowed` (`head.*`) may be missing, unused, or of another shape. `mapped` tensors are in a file that is
    mapped into memory; each is read once, and leaves memory when it is copied.

    Raises:
        CheckpointError: names that are not allowed differ, or a tensor cannot be a weight.
    """
    current = model.state_dict()
    own: dict[str, Tensor] = {name: t for name, t in current.items() if isinstance(t, Tensor)}
    odd = {name for name, t in matched.tensors.items() if name in own and _is_other(t, own[name])}
    refused = [name for name in sorted(odd) if not fits(name, allowed)]
    if refused:
        pairs = {name: (tuple(matched.tensors[name].shape), tuple(own[name].shape)) for name in refused}
        raise CheckpointError(other_shapes(pairs, where, image, classes))
    state: OrderedDict[str, Tensor] = OrderedDict((n, t) for n, t in matched.tensors.items() if n not in odd)
    for name, tensor in state.items():
        if name in own:
            _check_values(name, tensor, own[name], where)
    converted = Counter(str(t.dtype) for n, t in state.items() if n in own and t.dtype != own[n].dtype)
    today = current._metadata if own.keys() <= state.keys() else {}  # type: ignore[attr-defined]
    state._metadata = matched.versions or today  # type: ignore[attr-defined]
    try:
        with CopiedOut() if mapped else nullcontext():
            missing, unexpected = model.load_state_dict(state, strict=False)
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
        what = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{where} does not fit the network: {what}") from error
    infinite = next((name for name in state if name in own and not all_finite(own[name])), None)
    if infinite is not None:
        raise CheckpointError(f"{where}: {infinite} has values that are not finite; use an earlier file")
    fresh = _not_tied(model, {*missing, *odd})
    wrong = [name for name in fresh if not fits(name, allowed) and not name.endswith("num_batches_tracked")]
    unused = [name for name in unexpected if not fits(name, allowed)]
    if wrong or unused:
        raise CheckpointError(other_names(wrong, unused, where))
    return Filled(tuple(fresh), tuple(sorted(unexpected)), tuple(t.removeprefix("torch.") for t in sorted(converted)))


def _is_other(tensor: Tensor, own: Tensor) -> bool:
    """Whether the shapes differ; torch itself takes one element for a scalar."""
    return tensor.shape != own.shape and not (own.dim() == 0 and tensor.numel() == 1)


def _check_values(name: str, tensor: Tensor, own: Tensor, where: str) -> None:
    """Refuse tensors that torch would copy silently but later commands could not read."""
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        raise CheckpointError(
            f"{where}: {name} is sparse, quantized or without values; use the file of a plain network"
        )
    counts = tensor.is_floating_point() and not own.is_floating_point() and torch.equal(tensor, tensor.round())
    if own.is_floating_point() != tensor.is_floating_point() and not counts:
        expected = str(own.dtype).removeprefix("torch.")
        raise CheckpointError(f"{where}: {name} is {kind}, expected {expected}; use the file of a network in float32")


def _not_tied(model: nn.Module, names: set[str]) -> list[str]:
    """The names of tensors that were not filled under another name either."""
    shared = model.state_dict(keep_vars=True)
    filled = {id(tensor) for name, tensor in shared.items() if name not in names}
    return sorted(name for name in names if id(shared.get(name)) not in filled)
