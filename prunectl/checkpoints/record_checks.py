"""Checks records of results files and logs; values that prunectl does not know may be anything."""

from collections.abc import Mapping
from typing import Any

from prunectl.checkpoints.history import RESULTS, is_data
from prunectl.checkpoints.options.checks import (
    Check,
    Fits,
    every,
    expect,
    is_count,
    is_number,
    is_scalar,
    is_text,
    optional,
    values_that,
)


def check_log(record: Mapping[str, Any]) -> None:
    """Check a record of a training's log.

    Raises:
        ValueError: names a value of the wrong type.
    """
    _check(record, _LOG)


def check_result(record: Mapping[str, Any]) -> None:
    """Check a record of a results file; those of `eval` and `attack` must be complete, because reports rely on them.

    Raises:
        ValueError: names a value that is missing or of the wrong type.
    """
    _check(record, _RESULT)
    for name in _REQUIRED.get(record.get("command", ""), ()):
        if name not in record:
            raise ValueError(f"'{name}' is missing")


def _check(record: Mapping[str, Any], checks: Mapping[str, Check]) -> None:
    for name, value in record.items():
        if name in checks:
            checks[name](name, value)


def _fields(required: Mapping[str, Fits], others: Mapping[str, Fits] | None = None) -> Fits:
    """Whether this is an object with these fields, and possibly others."""
    known = {**required, **(others or {})}
    return lambda value: (
        isinstance(value, Mapping)
        and required.keys() <= value.keys()
        and all(known[name](each) for name, each in value.items() if name in known)
    )


def _is_event(value: Any) -> bool:
    """Whether this is the result of a round of pruning."""
    try:
        for name, each in value.items() if isinstance(value, Mapping) else [("", None)]:
            RESULTS.get(name, _SCALAR)(name, each)
    except ValueError:
        return False
    return True


def _share(value: Any) -> bool:
    return is_number(value) and -1e-9 <= value <= 1 + 1e-9


def _table(value: Any) -> bool:
    """Whether this is a confusion table, with as many columns as rows."""
    return every(every(is_count))(value) and all(len(row) == len(value) for row in value)


def _named(expected: str, fits: Fits, names: str) -> dict[str, Check]:
    return dict.fromkeys(names.split(), expect(expected, fits))


_SCALAR = expect("a plain value", is_scalar)
_LATENCY = _fields(
    {"batch": is_count, "median_s": is_number},
    {"iqr_s": is_number, "runs": is_count, "runtime": is_text, "low_s": is_number, "high_s": is_number}
    | dict.fromkeys(("compile_s", "ratio", "ratio_low", "ratio_high"), is_number),
)
_BESIDE = _fields(
    {},
    {"checkpoint": optional(is_text), "accuracy": _share, "accuracy_difference": is_number, "latency": every(_LATENCY)},
)
_AT_EPS = _fields({"eps": is_number, "robust_accuracy": _share}, {"success": optional(is_number)})
_CORRUPTED = _fields({"corruption": is_text, "accuracy": _share}, {"severity": is_count})
_LOG: dict[str, Check] = {
    **_named("a whole number", is_count, "step images flops_per_sample training_flops memory_bytes"),
    **_named("a number", is_number, "epoch seconds weight_sparsity node_sparsity"),
    **_named("a number", optional(is_number), "loss lr eval_loss"),
    **_named("a share", _share, "accuracy eval_accuracy"),
    "pruned": expect("an object of plain values", _is_event),
}
_RESULT: dict[str, Check] = {
    **_named("a text", is_text, "command attack device target time"),
    **_named("a text", optional(is_text), "checkpoint norm source reference"),
    **_named("a list of texts", every(is_text), "warnings attacks"),
    **_named("a whole number", is_count, "images test_images parameters weights macs flops nonzero_flops bytes"),
    **_named("a whole number", is_count, "compressed_bytes peak_memory_bytes"),
    **_named("a whole number", optional(is_count), "nodes nodes_present"),
    **_named("a number", is_number, "weight_sparsity seconds mean_accuracy"),
    **_named("a number", optional(is_number), "node_sparsity loss"),
    **_named("a share", _share, "accuracy clean_accuracy"),
    **_named("a share", optional(_share), "top5 agreement"),
    **_named("an object of numbers", values_that(optional(is_number)), "per_class attack_seconds median_norm"),
    "options": expect("an object of plain values", values_that(is_scalar)),
    "data": expect("an object with a 'name'", is_data),
    "dense": expect("an object of whole numbers", values_that(optional(is_count))),
    "confusion": expect("a square table of whole numbers", _table),
    "latency": expect("a list of timings", every(_LATENCY)),
    "against": expect("the measurements of another network", _BESIDE),
    "results": expect("a list of results by eps", every(_AT_EPS)),
    "corruptions": expect("a list of corruptions", every(_CORRUPTED)),
}
_REQUIRED = {
    "eval": ("data", "accuracy"),
    "attack": ("attack", "results"),
}
