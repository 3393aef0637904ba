"""Checks the fields of a header."""

from math import prod
from typing import TYPE_CHECKING, Any

from prunectl.checkpoints.options.checks import is_count, is_number, is_scalar

if TYPE_CHECKING:
    from prunectl.checkpoints.header import Header, Resize

MOST_VALUES, MOST_CLASSES = 2**26, 1_000_000
"""Most values of an image, and most classes: 3 x 4,096 x 4,096 is fine."""
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


def check_fields(head: "Header") -> None:
    """Refuse values of the wrong type: a stranger's file must not choose what a builder gets.

    Raises:
        ValueError: names the fields.
    """
    spec, dense, pair = head.model, head.dense, head.pair
    fits = {
        "model.name": isinstance(spec.name, str) and spec.name.isprintable(),
        "model.input": is_shape(spec.input),
        "model.classes": is_count(spec.classes) and 0 < spec.classes <= MOST_CLASSES,
        "model.options": isinstance(spec.options, dict) and all(map(is_scalar, spec.options.values())),
        "data": isinstance(head.data, str),
        "mean": spec.input[:1] == (len(head.mean),) and all(is_number(value) for value in head.mean),
        "std": spec.input[:1] == (len(head.std),) and all(is_number(value) and value > 0 for value in head.std),
        "dense": all(is_count(n) for n in (dense.parameters, dense.weights, dense.nodes or 0, dense.flops)),
        "dense.weights": dense.weights != 0,
        "weights": is_count(head.weights),
        "normalisation_known": isinstance(head.normalisation_known, bool),
        "names": not head.names or (len(head.names) == spec.classes and all(isinstance(n, str) for n in head.names)),
        "resize": head.resize is None or is_resize(head.resize),
        "edits": all(_is_edit(edit) for edit in head.edits),
        "edits, without the nodes left in history": not _is_shrunk(head) or head.nodes_present is not None,
        "pair": pair is None or (pair.isascii() and pair.isalnum() and len(pair) <= 64),  # it becomes part of a name
    }
    lists = {"mean": head.mean, "std": head.std, "names": head.names, "edits": head.edits}
    wrong = [field for field, fit in fits.items() if not fit or not isinstance(lists.get(field, ()), tuple)]
    if wrong:
        raise ValueError(f"wrong type of value under {', '.join(wrong)}")


def is_shape(shape: Any) -> bool:
    """Whether this is a shape (C, H, W) of images."""
    return len(shape) == 3 and all(is_count(n) and n > 0 for n in shape) and prod(shape) <= MOST_VALUES


def is_resize(resize: "Resize") -> bool:
    """Whether the values of a rule have valid types."""
    crop, whole = resize.crop, is_count(resize.size) and resize.size > 0
    return whole and is_number(crop) and 0 < crop <= 1 and resize.interpolation in INTERPOLATIONS


def _is_shrunk(head: "Header") -> bool:
    return any("kept" in edit for edit in head.edits)


def _is_edit(edit: Any) -> bool:
    """Whether this is an edit: a set attribute, a swapped module, or remaining indices of the dense network's axes."""
    if not isinstance(edit, dict):
        return False
    if "kept" in edit:
        axes, rows = edit["kept"], edit.get("rows")
        if not isinstance(axes, dict) or not isinstance(rows, list):
            return False
        known = edit.keys() == {"kept", "rows", "graph", "alive"}
        return known and all(type(row) is int and 0 <= row < len(rows) for row in axes.values())
    if not isinstance(edit.get("module"), str):
        return False
    if "swap" in edit:
        return isinstance(edit["swap"], str) and all(is_number(edit[key]) for key in edit.keys() - {"module", "swap"})
    return edit.keys() == {"module", "attribute", "value"} and _is_size_of(edit["attribute"], edit["value"])


def _is_size_of(attribute: Any, value: Any) -> bool:
    """Whether this is an attribute name with one size or several."""
    sizes = value if isinstance(value, list) else [value]
    return isinstance(attribute, str) and attribute.isidentifier() and all(is_count(size) for size in sizes)
