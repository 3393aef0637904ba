"""How a field of an options dataclass is written in a history and on the command line."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, get_type_hints

Flag = tuple[str, str | None]
"""An option with its value as text; None for one that takes none."""
_METADATA = "option"


@dataclass(frozen=True)
class Option:
    """The properties of a field that its name and type do not determine.

    `key` is its name in a history. `flag` is its name on the command line, `negative` the flag for False; fields that
    are not `shown` have none. `kind` says that the value names a plug-in of this kind, `owner` that the value holds the
    options of the plug-in under this key. A flag that `needs` another key is left out if that has no value. `joined`
    writes a list as one text with commas, `none` if it is empty; each of `choices` is a flag of its own. A `sparse`
    field is recorded only if it differs from its default. `implied` computes, from the history's options, the value
    without the flag, if that is not the default. A `file` is a checkpoint: a history holds its sha256, the command line
    its path. `earlier` computes the value for a history from before this key, None if it does not matter.
    """

    key: str | None = None
    flag: str | None = None
    negative: str | None = None
    shown: bool = True
    kind: str | None = None
    owner: str | None = None
    needs: str | None = None
    joined: bool = False
    choices: tuple[str, ...] = ()
    sparse: bool = False
    file: bool = False
    implied: Callable[[Mapping[str, Any]], Any] | None = None
    earlier: Callable[[Mapping[str, Any]], Any] | None = None


def option(default: Any = MISSING, *, default_factory: Any = MISSING, **spelling: Any) -> Any:
    """A field of an options dataclass; `spelling` are fields of `Option`."""
    metadata = {_METADATA: Option(**spelling)}
    if default_factory is not MISSING:
        return field(default_factory=default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Entry:
    """A field of a history; `name` is the field's name, `type` its annotation."""

    name: str
    key: str
    type: Any
    default: Any
    option: Option

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    def flags(self, values: Mapping[str, Any], shared: bool) -> list[Flag]:
        """The flags for its value in these options of a history; `shared` says that -O goes to two plug-ins.

        Raises:
            ValueError: no flag expresses this value.
        """
        how, value = self.option, values[self.key]
        flag = how.flag or f"--{self.name.replace('_', '-')}"
        if value is None or not how.shown or (how.needs is not None and not values.get(how.needs)):
            return []
        if isinstance(value, bool):
            return self._switch(flag, value, values)
        if isinstance(value, Mapping):
            before = f"{how.owner}." if shared else ""
            return [(flag, f"{before}{key}={given}") for key, given in value.items()]
        if isinstance(value, list | tuple):
            return self._list(flag, value)
        return [(flag, str(value))]

    def _switch(self, flag: str, value: bool, values: Mapping[str, Any]) -> list[Flag]:
        implied = self.default if self.option.implied is None else self.option.implied(values)
        if value == implied:
            return []
        chosen = flag if value else self.option.negative
        if chosen is None:
            raise ValueError(f"'{self.key}' has no flag for false")
        return [(chosen, None)]

    def _list(self, flag: str, value: Sequence[str]) -> list[Flag]:
        if self.option.joined:
            return [(flag, ",".join(value) or "none")]
        return [self._choice(each) if self.option.choices else (flag, each) for each in value]

    def _choice(self, value: str) -> Flag:
        if value not in self.option.choices:
            raise ValueError(f"'{self.key}': expected one of {', '.join(self.option.choices)}, found {value!r}")
        return f"--{value}", None


@cache
def own_entries(record: Any) -> tuple[Entry, ...]:
    """The fields of a dataclass, except those that hold an options dataclass themselves."""
    types = get_type_hints(record)
    found = []
    for each in fields(record):
        how = each.metadata.get(_METADATA, Option())
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        if nested_in(types[each.name]) is None:
            found.append(Entry(each.name, how.key or each.name, types[each.name], default, how))
    return tuple(found)


@cache
def entries(record: Any) -> tuple[Entry, ...]:
    """All entries of a dataclass in a history: the fields of nested dataclasses, then its own.

    The pruning of a training is nested: its options are stored beside those of the training.
    """
    inner = [found for annotation in get_type_hints(record).values() if (found := nested_in(annotation)) is not None]
    return (*(entry for each in inner for entry in entries(each)), *own_entries(record))


def completed(allowed: Iterable[Entry], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a history, completed with the values meant before a key existed."""
    new = {each.key: each.option.earlier for each in allowed if each.option.earlier and each.key not in options}
    found = {key: earlier(options) for key, earlier in new.items()}
    return {**options, **{key: value for key, value in found.items() if value is not None}}


def nested_in(annotation: Any) -> type | None:
    """The options dataclass in an annotation such as `GradualPruning | None`, or None."""
    parts = getattr(annotation, "__args__", (annotation,))
    return next((part for part in parts if hasattr(part, "__dataclass_fields__")), None)
