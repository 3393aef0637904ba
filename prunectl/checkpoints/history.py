"""Entries of a checkpoint's history: command, options and result; checked when read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from prunectl.checkpoints.options.checks import (
    SCALAR,
    Check,
    every,
    expect,
    is_count,
    is_number,
    is_scalar,
    is_text,
    kind_of,
    optional,
    values_that,
)
from prunectl.checkpoints.options.table import DATA, RECORDS, checks

MOST_THREADS = 1024
_FIELDS = ("command", "options", "result", "versions", "threads", "parent")


@dataclass(frozen=True)
class HistoryEntry:
    """One command of a history: its `options`, its `result`, and the `versions` that it ran on.

    `parent` is the sha256 of the checkpoint that the command read, None for a fresh network; `threads` is None in files
    that do not record it.
    """

    command: str
    options: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None
    parent: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values for a header. An empty result and unknown threads or versions are left out."""
        return {
            "command": self.command,
            "options": dict(self.options),
            **({"result": dict(self.result)} if self.result else {}),
            **({"versions": dict(self.versions)} if self.versions else {}),
            **({} if self.threads is None else {"threads": self.threads}),
            "parent": self.parent,
        }

    @staticmethod
    def from_json(values: Any) -> "HistoryEntry":
        """Read what `to_json` returns.

        Raises:
            ValueError: names the first field that is missing, unknown, or of the wrong type.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"expected an object, found {kind_of(values)}")
        for name in ("command", "options"):
            if name not in values:
                raise ValueError(f"'{name}' is missing")
        for name in values:
            if name not in _FIELDS:
                raise ValueError(f"unknown field '{name}'")
        of_field: dict[str, Check] = {
            "command": _WORD,
            "options": _TABLE,
            "result": _TABLE,
            "versions": _VERSIONS,
            "threads": _THREADS,
            "parent": _OPTIONAL_TEXT,
        }
        for name, value in values.items():
            of_field[name](name, value)
        entry = HistoryEntry(**values)
        _check_options(entry.command, entry.options)
        _check_result(entry.command, entry.result)
        return entry

    def with_result(self, result: Mapping[str, Any]) -> "HistoryEntry":
        """The same entry with another result."""
        return replace(self, result=dict(result))

    @property
    def data(self) -> Mapping[str, Any] | None:
        """The images of the command: `name`, possibly `source`, and the changes to them."""
        return self.options.get("data")

    @property
    def is_whole(self) -> bool:
        """False for a training that ended before its last step."""
        steps, total = (self.options.get(key, 0) for key in ("steps", "total_steps"))
        return self.command != "train" or bool(steps >= total)


def is_data(value: Any) -> bool:
    """Whether this is a `DataRecord`, as in a history or a record."""
    return values_that(is_scalar)(value) and is_text(value.get("name")) and optional(is_text)(value.get("source"))


def _is_layer(value: Any) -> bool:
    """Whether this is the error of a layer before and after its repair."""
    errors = ("before", "after")
    return (
        values_that(is_scalar)(value) and is_text(value.get("layer")) and all(is_number(value.get(e)) for e in errors)
    )


def _is_trial(value: Any) -> bool:
    """Whether this is a candidate of `prune --criterion auto`, with its result or why it was refused."""
    return values_that(is_scalar)(value) and is_text(value.get("candidate"))


_WORD = expect("a word", lambda value: is_text(value) and value != "")
_TABLE = expect("an object", lambda value: isinstance(value, Mapping) and all(isinstance(key, str) for key in value))
_VERSIONS = expect("an object of texts", values_that(is_text))
_THREADS = expect(f"1 to {MOST_THREADS}", optional(lambda value: type(value) is int and 0 < value <= MOST_THREADS))
_OPTIONAL_TEXT = expect("a text or nothing", optional(is_text))
_DATA = expect("nothing or an object with a 'name'", optional(is_data))
_COUNT = expect("a whole number", is_count)
_NUMBER = expect("a number", is_number)
_TEXT = expect("a text", is_text)
_TEXTS = expect("a list of texts", every(is_text))


def _named(check: Check, names: str) -> dict[str, Check]:
    return dict.fromkeys(names.split(), check)


RESULTS: dict[str, Check] = {
    **_named(_COUNT, "nodes removed parameters flops bytes held_out step"),
    **_named(
        _NUMBER,
        "weight_sparsity node_sparsity max_pruned latency latency_low latency_high change dense_accuracy "
        "recalibrated_accuracy",
    ),
    **_named(_TEXT, "runs training configuration found_under"),
    **_named(_TEXTS, "missing unused converted thin_groups odd_widths too_wide"),
    "proof": expect("an object of numbers", values_that(is_number)),
    "multiples": expect("an object of whole numbers", values_that(is_count)),
    "layers": expect("a list of layers with their errors", every(_is_layer)),
    "tried": expect("a list of candidates", every(_is_trial)),
    "unreached_classes": expect("a list of whole numbers", every(is_count)),
}
"""The checks for results; other values must be plain, and `events` are results with an `epoch`."""
_ANYWHERE = {**{key: check for each in RECORDS for key, check in checks(each).items()}, DATA: _DATA}
"""The checks for the options of a command that this prunectl does not know."""
_OPTIONS = {command: {**_ANYWHERE, **checks(command)} for command in RECORDS}
_SHRINK = ("nodes", "removed", "parameters", "flops", "runs", "proof")


def _check_options(command: str, options: Mapping[str, Any]) -> None:
    """Check the types of the options that prunectl knows; others, of a newer version, must be plain values."""
    _check_all("options", options, _OPTIONS.get(command, _ANYWHERE))
    if command == "train" and options.get("steps", 0) > options.get("total_steps", 0):
        raise ValueError("'options.steps' is more than 'options.total_steps'")


def _check_result(command: str, result: Mapping[str, Any]) -> None:
    """Check a result; that of a shrink must be complete, because later commands rely on it."""
    check_events("result.events", result.get("events", []))
    _check_all("result", {key: value for key, value in result.items() if key != "events"}, RESULTS)
    if command == "shrink" and result:
        _require("result", result, _SHRINK)


def check_events(name: str, events: Any) -> None:
    """Check the results of the rounds of a training.

    Raises:
        ValueError: names what is missing or of the wrong type.
    """
    if not every(lambda event: isinstance(event, Mapping))(events):
        raise ValueError(f"'{name}': expected a list of objects")
    for i, event in enumerate(events, 1):
        where = f"{name}, {i}"
        _require(where, event, ("epoch", "weight_sparsity"))
        _COUNT(f"{where}: epoch", event["epoch"])
        _check_all(where, event, RESULTS)


def _check_all(where: str, values: Mapping[str, Any], known: Mapping[str, Check]) -> None:
    for key, value in values.items():
        known.get(key, SCALAR)(f"{where}.{key}", value)


def _require(where: str, values: Mapping[str, Any], keys: Iterable[str]) -> None:
    missing = [key for key in keys if key not in values]
    if missing:
        raise ValueError(f"'{where}.{missing[0]}' is missing")
