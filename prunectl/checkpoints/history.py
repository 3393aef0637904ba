"""One entry of a checkpoint's history: a command, what it was asked, and what came of it; checked where it is read."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

MOST_THREADS = 1024
MODULE = "module"
"""The command of an entry that says which `nn.Module` a history began with."""
IMPORT = "import"
"""The command of an entry that says which file of another program a history began with."""
_FIELDS = ("command", "options", "result", "versions", "threads", "parent")


@dataclass(frozen=True)
class HistoryEntry:
    """`options` are those of the command, `result` what it reached, `versions` what it ran on.

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
            ValueError: naming the first field that is missing, unknown, or of another type than expected.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"expected an object, found {_kind(values)}")
        for name in ("command", "options"):
            if name not in values:
                raise ValueError(f"'{name}' is missing")
        for name in values:
            if name not in _FIELDS:
                raise ValueError(f"unknown field '{name}'")
        checks: dict[str, Check] = {
            "command": _WORD,
            "options": _TABLE,
            "result": _TABLE,
            "versions": _VERSIONS,
            "threads": _THREADS,
            "parent": _OPTIONAL_TEXT,
        }
        for name, value in values.items():
            checks[name](name, value)
        entry = HistoryEntry(**values)
        _check_options(entry.command, entry.options)
        _check_result(entry.command, entry.result)
        return entry

    def with_result(self, result: Mapping[str, Any]) -> "HistoryEntry":
        """The same entry with another result."""
        return replace(self, result=dict(result))

    @property
    def data(self) -> Mapping[str, Any] | None:
        """The images that the command used: `name`, perhaps `source`, and what was changed in them."""
        return self.options.get("data")

    @property
    def is_whole(self) -> bool:
        """False for a training that ended before its last step."""
        return int(self.options.get("steps", 0)) >= int(self.options.get("total_steps", 0))


Check = Callable[[str, Any], None]
"""Raises ValueError when the value of this name is not what it should be."""


def _kind(value: Any) -> str:
    """How a value is called in a message: a number as it is, else its kind, as a stranger's text may be anything."""
    if type(value) in (int, float) and not abs(value) >= 2**63:
        return str(value)
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list"}
    return "nothing" if value is None else names.get(type(value), "an object")


def _expect(expected: str, fits: Callable[[Any], bool]) -> Check:
    def check(name: str, value: Any) -> None:
        if not fits(value):
            raise ValueError(f"'{name}': expected {expected}, found {_kind(value)}")

    return check


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | str) or _is_number(value)


def _optional(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _every(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(fits(item) for item in value)


def _values(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, Mapping) and all(isinstance(key, str) and fits(item) for key, item in value.items())
    )


def _is_data(value: Any) -> bool:
    return _values(_is_scalar)(value) and _is_text(value.get("name")) and _optional(_is_text)(value.get("source"))


def _is_layer(value: Any) -> bool:
    """The error of a layer before and after its repair."""
    errors = ("before", "after")
    return _values(_is_scalar)(value) and _is_text(value.get("layer")) and all(_is_number(value.get(e)) for e in errors)


_WORD = _expect("a word", lambda value: _is_text(value) and value != "")
_TABLE = _expect("an object", lambda value: isinstance(value, Mapping) and all(isinstance(key, str) for key in value))
_VERSIONS = _expect("an object of texts", _values(_is_text))
_THREADS = _expect(f"1 to {MOST_THREADS}", _optional(lambda value: type(value) is int and 0 < value <= MOST_THREADS))
_OPTIONAL_TEXT = _expect("a text or nothing", _optional(_is_text))
_COUNT = _expect("a whole number", _is_count)
_NUMBER = _expect("a number", _is_number)
_TEXT = _expect("a text", _is_text)
_TEXTS = _expect("a list of texts", _optional(_every(_is_text)))
_SETTINGS = _expect("an object of plain values", _optional(_values(_is_scalar)))
_SCALAR = _expect("a plain value", _is_scalar)


def _named(check: Check, names: str) -> dict[str, Check]:
    return dict.fromkeys(names.split(), check)


_MAYBE_COUNT = _expect("a whole number", _optional(_is_count))
_MAYBE_NUMBER = _expect("a number", _optional(_is_number))
_MAYBE_TEXT = _expect("a text", _optional(_is_text))
_FLAG = _expect("true or false", _optional(lambda value: isinstance(value, bool)))
OPTIONS: dict[str, Check] = {
    **_named(_COUNT, "steps total_steps seed epochs batch_size adv_steps processes n"),
    **_named(_COUNT, "prune_delay prune_every min_nodes multiple_of"),
    **_named(_MAYBE_COUNT, "prune_steps rewind_to"),
    **_named(_MAYBE_NUMBER, "sparsity threshold lr wd momentum clip noise reg_weight label_smoothing ema"),
    **_named(_MAYBE_NUMBER, "adv_eps adv_beta"),
    **_named(_MAYBE_TEXT, "criterion schedule scope unit device opt sched reg adv_loss norm"),
    **_named(_MAYBE_TEXT, "params flops size latency"),
    **_named(_MAYBE_TEXT, "method calibration repair reference"),
    **_named(_FLAG, "amp compile balanced outer_layers"),
    **_named(_TEXTS, "augment controls keep allow_missing"),
    **_named(_SETTINGS, "options reg_options"),
    "data": _expect("nothing or an object with a 'name'", _optional(_is_data)),
}
"""What the options of `train`, `prune`, `repair`, `shrink` and `import` hold; any other option is a plain value."""
RESULTS: dict[str, Check] = {
    **_named(_COUNT, "nodes removed parameters flops bytes"),
    **_named(_NUMBER, "weight_sparsity node_sparsity latency change"),
    **_named(_TEXT, "runs training configuration found_under"),
    **_named(_TEXTS, "missing unused converted"),
    "proof": _expect("an object of numbers", _values(_is_number)),
    "layers": _expect("a list of layers with their errors", _every(_is_layer)),
    "unreached_classes": _expect("a list of whole numbers", _every(_is_count)),
}
"""What results hold; any other value is a plain one, and `events` are results with an `epoch`."""
_SHRINK = ("nodes", "removed", "parameters", "flops", "runs", "proof")


def _check_options(command: str, options: Mapping[str, Any]) -> None:
    _check_all("options", options, OPTIONS)
    if command == "train" and options.get("steps", 0) > options.get("total_steps", 0):
        raise ValueError("'options.steps' is more than 'options.total_steps'")


def _check_result(command: str, result: Mapping[str, Any]) -> None:
    """Check a result; that of a shrink is whole, as later commands count with it."""
    events = result.get("events", [])
    if not _every(lambda event: isinstance(event, Mapping))(events):
        raise ValueError("'result.events': expected a list of objects")
    _check_all("result", {key: value for key, value in result.items() if key != "events"}, RESULTS)
    for i, event in enumerate(events, 1):
        where = f"result.events, {i}"
        _require(where, event, ("epoch", "weight_sparsity"))
        _COUNT(f"{where}: epoch", event["epoch"])
        _check_all(where, event, RESULTS)
    if command == "shrink" and result:
        _require("result", result, _SHRINK)


def _check_all(where: str, values: Mapping[str, Any], known: Mapping[str, Check]) -> None:
    for key, value in values.items():
        known.get(key, _SCALAR)(f"{where}.{key}", value)


def _require(where: str, values: Mapping[str, Any], keys: Iterable[str]) -> None:
    missing = [key for key in keys if key not in values]
    if missing:
        raise ValueError(f"'{where}.{missing[0]}' is missing")
