"""Error messages for tensors of a file that do not fit a network, with the option that makes them fit."""

from collections.abc import Mapping, Sequence

Shape = tuple[int, ...]
Pairs = Mapping[str, tuple[Shape, Shape]]
"""Shapes in the file and in the network, by name."""
_LISTED, _PATTERNS = 6, 3


def other_shapes(pairs: Pairs, where: str, image: Shape = (), classes: int | None = None) -> str:
    """The message for tensors of other shapes; the network was built for `image` (C, H, W) and `classes`, if known."""
    name, (found, own) = next(iter(pairs.items()))
    more = f" ({len(pairs)} tensors differ like this)" if len(pairs) > 1 else ""
    said = f"{where}: {name} is {_size(found)}, the network has {_size(own)}{more}"
    heads = {name: pair for name, pair in pairs.items() if _differ_at(0, *pair) and classes in (None, pair[1][0])}
    stems = {name: pair for name, pair in pairs.items() if _differ_at(1, *pair) and image[:1] == pair[1][1:2]}
    counts, colours = {pair[0][0] for pair in heads.values()}, {pair[0][1] for pair in stems.values()}
    if len(heads) + len(stems) == len(pairs) and len(counts) < 2 and len(colours) < 2:
        right = {f"{count:,} classes": f"`classes` {count}" for count in counts}
        right |= {f"{n}-channel images": f"`input` {'x'.join(map(str, (n, *image[1:])))}" for n in colours}
        fresh = _patterns(list(pairs))
        other = f", or `allow_missing` {fresh} to leave the differing layers fresh" if fresh else ""
        return f"{said}; the file is for {' and '.join(right)}: pass {' '.join(right.values())}{other}"
    return f"{said}; pass the `model`, `classes`, `input` and -M that the file was trained with"


def other_names(missing: Sequence[str], unused: Sequence[str], where: str) -> str:
    """The message for tensors that only the file or only the network has."""
    parts = [
        f"{len(names)} {what}: {', '.join(names[:_LISTED])}{', ...' if len(names) > _LISTED else ''}"
        for what, names in (("missing in the file", missing), ("not in the network", unused))
        if names
    ]
    ways = (("leave missing layers fresh", missing), ("skip layers that the network lacks", unused))
    means = " and ".join(way for way, names in ways if names)
    return (
        f"{where} does not fit the network, {'; '.join(parts)}. Pass the `model` and -M that the file was made for, or "
        f"`allow_missing` {_patterns([*missing, *unused]) or 'PATTERN'} to {means}"
    )


def _patterns(names: Sequence[str]) -> str:
    """A quoted pattern for the layer of each name, joined by flags; empty if there are many."""
    layers = dict.fromkeys(f"{name.rpartition('.')[0]}.*" if "." in name else name for name in names)
    return " `allow_missing` ".join(f"'{layer}'" for layer in layers) if len(layers) <= _PATTERNS else ""


def _differ_at(axis: int, found: Shape, own: Shape) -> bool:
    """Whether two shapes differ in this axis alone."""
    if len(found) != len(own) or axis >= len(own) or found[axis] == own[axis]:
        return False
    return (*found[:axis], *found[axis + 1 :]) == (*own[:axis], *own[axis + 1 :])


def _size(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a scalar"
