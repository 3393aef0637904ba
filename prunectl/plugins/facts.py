"""Facts about plug-ins for listings, read from their source, so that torch need not be imported."""

import ast
import inspect
from dataclasses import dataclass, field
from typing import Any

from prunectl.plugins import source_code
from prunectl.plugins.registry import TABLES, resolve
from prunectl.plugins.source_code import Source, Unreadable

SHOWN = ("unit", "when", "schedule", "steps", "scope", "source")
"""The fields in a list of criteria."""


@dataclass(frozen=True)
class Facts:
    """A plug-in: its options with defaults, a sentence on what it does, and the values of a criterion by field."""

    options: dict[str, Any]
    about: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


def facts(kind: str, name: str) -> Facts:
    """The facts of a plug-in; it is imported if its source does not tell.

    Raises:
        UnknownName: no plug-in has that name.
    """
    if name in TABLES[kind]:
        try:
            return _read(kind, TABLES[kind][name])
        except Unreadable:
            pass
    return _imported(kind, resolve(kind, name))


def _read(kind: str, address: str) -> Facts:
    """The facts of a built-in plug-in."""
    source, found = source_code.definition(address)
    if kind == "criterion":
        return _criterion(source, found)
    if not isinstance(found, source_code.Definition):
        raise Unreadable(f"{address} is not a function")
    own = source_code.paragraph(ast.get_docstring(found))
    return Facts({} if kind == "data" else source.options(found), own or source.about)


def _criterion(source: Source, found: ast.stmt) -> Facts:
    """A criterion from `Criterion(scorer, field=value, ...)`, or from `replace(other, field=value, ...)`."""
    made = source_code.call(found)
    if not isinstance(made.func, ast.Name) or not made.args or not isinstance(made.args[0], ast.Name):
        raise Unreadable("no criterion")
    given = {each.arg: each.value for each in made.keywords if each.arg is not None}
    where, scorer = source.find(made.args[0].id)
    if made.func.id == "replace":
        base = _criterion(where, scorer)
    elif made.func.id == "Criterion" and isinstance(scorer, ast.FunctionDef):
        about = source_code.paragraph(ast.get_docstring(scorer))
        base = Facts(where.options(scorer), about, _defaults())
    else:
        raise Unreadable(ast.unparse(made.func))
    options = dict(base.options)
    for value in given.values():  # other parts: a callback, an exploration
        options |= _part_options(source, value)
    values = {key: source.value(given[key]) for key in base.fields if key in given}
    return Facts(options, base.about, {**base.fields, **values})


def _part_options(source: Source, value: ast.expr) -> dict[str, Any]:
    """The options of a function or class, or of a `partial` of one with other defaults; none for any other value."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "partial":
        fixed = {each.arg: source.value(each.value) for each in value.keywords if each.arg is not None}
        return {**_part_options(source, value.args[0]), **fixed}
    if not isinstance(value, ast.Name):
        return {}
    where, part = source.find(value.id)
    return where.keywords(part) if isinstance(part, source_code.Definition) else {}


def _defaults() -> dict[str, Any]:
    """The default values in `Criterion` for the fields of a list."""
    record = source_code.source_of("prunectl.criteria.base.criterion")
    known = {key: value for key, value in source_code.fields(record, "Criterion") if key in SHOWN}
    return {key: None if known[key] is None else record.value(known[key]) for key in SHOWN}  # type: ignore[arg-type]


def _imported(kind: str, plugin: Any) -> Facts:
    """The facts of a plug-in from another package or a file."""
    parts = [getattr(plugin, "scorer", plugin)]
    if kind == "criterion":
        parts += [value for value in vars(plugin).values() if callable(value) and value is not parts[0]]
    options: dict[str, Any] = {}
    for part in parts if kind != "data" else ():
        options |= {
            key: source_code.REQUIRED if each.default is each.empty else each.default
            for key, each in inspect.signature(part).parameters.items()
            if each.kind is each.KEYWORD_ONLY
        }
    fields = {key: getattr(plugin, key) for key in SHOWN} if kind == "criterion" else {}
    return Facts(options, source_code.paragraph(inspect.getdoc(parts[0])), fields)
