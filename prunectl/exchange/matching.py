"""Matches the tensors of a file to those of a network by name and shape, whatever the keys and prefixes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from prunectl.errors import CheckpointError, OptionError
from prunectl.exchange.mismatch import other_shapes

Tensors = dict[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]
_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Name parts of the modules that torch wraps around others, at any depth."""
_DEPTH = 4
_LISTED = 4


@dataclass(frozen=True)
class Matched:
    """Tensors under the network's names; `masks` are those of `torch.nn.utils.prune`, bool, True = kept.

    `key` is their place in the file, "" for its top; torch converts the names of earlier module `versions`.
    """

    key: str
    tensors: Tensors
    masks: Tensors
    versions: dict[str, dict[str, int]]


def match(content: Mapping[str, Any], expected: Shapes, key: str | None, where: str) -> Matched:
    """The one state dict in `content` that fits a network, without its prefixes.

    Raises:
        OptionError: there is none under `key`, or several fit and `key` is None.
        CheckpointError: no tensor of the file has the name and shape of one in the network.
    """
    found = dict(_state_dicts(content))
    if key is not None and key not in found:
        raise OptionError(f"{where} has no tensors under `key` {key}; keys with tensors: {_names(found) or 'none'}")
    tried = {key: found[key]} if key is not None else found
    fits = {name: _Fit.of(state, expected) for name, state in tried.items()}
    some = {name: fit for name, fit in fits.items() if fit.count}
    if not some:
        raise CheckpointError(_no_fit(tried, expected, where))
    chosen = {name: fit for name, fit in some.items() if fit.count == len(expected)} or some
    if len(chosen) > 1:
        raise OptionError(f"{where} holds several state dicts that fit: {_names(chosen)}; choose one with `key`")
    name, fit = next(iter(chosen.items()))
    return Matched(name, fit.state, fit.masks, _versions(found[name], fit))


def share_that_fits(content: Mapping[str, Any], expected: Shapes) -> float:
    """The share of a network's tensors found in the best state dict of `content`, by name and shape."""
    counts = [_Fit.of(state, expected).count for _, state in _state_dicts(content)]
    return max(counts, default=0) / max(len(expected), 1)


@dataclass(frozen=True)
class _Fit:
    """A renamed state dict: `prefix` was removed, `added` prepended; `count` names fit the network."""

    state: Tensors
    masks: Tensors
    prefix: str
    added: str
    count: int

    @staticmethod
    def of(state: Mapping[str, Tensor], expected: Shapes) -> "_Fit":
        named = {_unwrapped(name): tensor for name, tensor in state.items()}
        kept_pairs = any(name.endswith("_orig") for name in expected)
        plain, masks = (named, {}) if kept_pairs else _without_pairs(named)
        prefix, added = _renaming(plain, expected)
        renamed = {_renamed(name, prefix, added): tensor for name, tensor in plain.items()}
        masks = {_renamed(name, prefix, added): mask for name, mask in masks.items()}
        fitting = sum(expected.get(name) == tuple(tensor.shape) for name, tensor in renamed.items())
        return _Fit(renamed, masks, prefix, added, fitting)


class _State(Tensors):
    """A state dict of a file; `versions` holds those of its modules, under their names in the file."""

    versions: Any = None


def _state_dicts(content: Mapping[Any, Any], place: str = "", depth: int = 0) -> Iterator[tuple[str, _State]]:
    """Every mapping from names to tensors, with its place in the file, such as `state_dict` or `ema.module`."""
    state = _State((name, t) for name, t in content.items() if isinstance(name, str) and isinstance(t, Tensor))
    state.versions = getattr(content, "_metadata", None)
    if state:
        yield place, state
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, Mapping) and depth < _DEPTH:
            yield from _state_dicts(value, f"{place}.{name}" if place else name, depth + 1)


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _without_pairs(state: Tensors) -> tuple[Tensors, Tensors]:
    """Replace the pairs `NAME_orig`, `NAME_mask` of `torch.nn.utils.prune` by weights and masks."""
    plain, masks = dict(state), {}
    for name, mask in state.items():
        whole = name.removesuffix("_mask")
        original = state.get(f"{whole}_orig")
        if whole != name and original is not None and original.shape == mask.shape:
            kept = mask != 0
            plain[whole] = original * kept
            del plain[name], plain[f"{whole}_orig"]
            if not kept.all():
                masks[whole] = kept
    return plain, masks


def _renaming(state: Tensors, expected: Shapes) -> tuple[str, str]:
    """The prefix to remove and the one to add for most tensors to match the network in name and shape."""
    counts: Counter[tuple[str, str]] = Counter({("", ""): 0})
    below = {added: {n.removeprefix(added): s for n, s in expected.items()} for added in _common_prefixes(expected)}
    for name, tensor in state.items():
        for prefix in _prefixes(name):
            for added, shapes in below.items():
                if shapes.get(name.removeprefix(prefix)) == tuple(tensor.shape):
                    counts[prefix, added] += 1
    return min(counts, key=lambda pair: (-counts[pair], len(pair[0]) + len(pair[1]), pair))


def _prefixes(name: str) -> Iterator[str]:
    """Every prefix of a name, by whole parts: "", "module.", "module.model."."""
    yield ""
    for i, letter in enumerate(name):
        if letter == ".":
            yield name[: i + 1]


def _common_prefixes(expected: Shapes) -> list[str]:
    """The prefixes, "" included, that all names of a network share."""
    names = list(expected)
    return [prefix for prefix in _prefixes(names[0]) if all(name.startswith(prefix) for name in names)] if names else []


def _renamed(name: str, prefix: str, added: str) -> str:
    return added + name.removeprefix(prefix) if name.startswith(prefix) else name


def _versions(state: _State, fit: _Fit) -> dict[str, dict[str, int]]:
    """The module versions that `state_dict()` stores beside the tensors, under the network's names."""
    noted = state.versions
    if not isinstance(noted, Mapping):
        return {}
    return {
        _renamed(f"{_unwrapped(name)}.", fit.prefix, fit.added).rstrip("."): {"version": entry["version"]}
        for name, entry in noted.items()
        if isinstance(name, str) and isinstance(entry, Mapping) and type(entry.get("version")) is int
    }


def _names(found: Mapping[str, Any]) -> str:
    shown = [name or "the top" for name in found]
    return ", ".join(shown[:_LISTED]) + (", ..." if len(shown) > _LISTED else "")


def _no_fit(tried: Mapping[str, _State], expected: Shapes, where: str) -> str:
    if not tried:
        return f"{where} holds no named tensors; expected a state dict: torch.save(net.state_dict(), path)"
    for state in tried.values():
        named = {_unwrapped(name): tuple(tensor.shape) for name, tensor in state.items()}
        pairs = {name: (named[name], shape) for name, shape in expected.items() if name in named}
        if len(pairs) == len(expected):  # all have other shapes
            return other_shapes(pairs, where)
    sample = ", ".join(list(next(iter(tried.values())))[:_LISTED])
    wanted = ", ".join(list(expected)[:_LISTED])
    return f"no tensor of {where} fits the network: it has {sample}, the network has {wanted}; use another `model`"
