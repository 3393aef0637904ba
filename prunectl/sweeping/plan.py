"""The plan of a sweep: pipelines as command lines with placeholders, and the values of these."""

import itertools
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prunectl.checkpoints.texts import parsed_toml
from prunectl.errors import OptionError

Value = str | int | float
MOST_PIPELINES = 10_000
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Command:
    """One command of a pipeline with its placeholders filled in; `values` are those that it uses."""

    arguments: tuple[str, ...]
    values: dict[str, Value]


@dataclass(frozen=True)
class Pipeline:
    """A pipeline with one combination of `values`; `varied` are the keys that have several values."""

    name: str
    commands: tuple[Command, ...]
    values: dict[str, Value]
    varied: frozenset[str]


def read_plan(text: str) -> list[Pipeline]:
    """Every pipeline with every combination of its values, in the order of the plan.

        [grid]
        criterion = ["snip", "magnitude"]
        seed = [0, 1, 2]

        [pipelines]
        dense = "train --model lenet5 --seed {seed} | eval"
        after = "train --model lenet5 --seed {seed} | prune -c {criterion} --seed {seed} | eval"

        [pipelines.during]      # with its own values
        criterion = ["snipit-during"]
        run = "train --model lenet5 -c {criterion} --seed {seed} | eval"

    A value of several words becomes several arguments if the placeholder is a separate word.

    Raises:
        OptionError: invalid TOML, no pipelines, or placeholders and values that do not match.
    """
    try:
        tables = parsed_toml(text)
    except ValueError as error:
        raise OptionError(f"it is not valid TOML: {error}") from error
    stray = next((key for key in tables if key not in ("grid", "pipelines")), None)
    if stray is not None:
        raise OptionError(f"unknown table or key '{stray}'; expected [grid] and [pipelines]")
    grid, pipelines = tables.get("grid", {}), tables.get("pipelines", {})
    if not isinstance(grid, dict) or not isinstance(pipelines, dict) or not pipelines:
        raise OptionError('it has no pipelines; add [pipelines] with lines such as dense = "train --model mlp5 | eval"')
    values = _values(grid, "[grid]")
    found: list[Pipeline] = []
    for name, given in pipelines.items():
        found += _pipelines(str(name), given, values)
        if len(found) > MOST_PIPELINES:
            raise OptionError(f"it has more than {MOST_PIPELINES:,} pipelines, the limit of a sweep")
    used = {key for pipeline in found for key in pipeline.values}
    unused = next((key for key in values if key not in used), None)
    if unused is not None:
        raise OptionError(f"no pipeline uses {{{unused}}} of [grid]; leave it out, or use it")
    return found


def _pipelines(name: str, given: Any, grid: Mapping[str, Any]) -> Iterator[Pipeline]:
    """One pipeline with every combination of its values."""
    where = f"pipeline '{name}'"
    if not _NAME.fullmatch(name):
        raise OptionError(f"{where}: a name may have letters, digits, - and _, because files are named after it")
    own = given if isinstance(given, dict) else {"run": given}
    text = own.get("run")
    if not isinstance(text, str) or not text.strip():
        raise OptionError(f'{where} must be a line such as "train --model mlp5 | eval", or a table with one as run')
    local = _values({key: value for key, value in own.items() if key != "run"}, where)
    values = {**grid, **local}
    templates = _split(text, where)
    named = [key for template in templates for part in template for key in _PLACEHOLDER.findall(part)]
    missing = next((key for key in named if key not in values), None)
    if missing is not None:
        raise OptionError(f"{where} uses {{{missing}}}, which has no values there or in [grid]")
    unused = next((key for key in local if key not in named), None)
    if unused is not None:
        raise OptionError(f"{where} has values for {unused}, but does not use {{{unused}}}")
    keys = [key for key in values if key in named]
    varied = frozenset(key for key in keys if isinstance(values[key], list))
    count = math.prod(len(_listed(values[key])) for key in keys)
    if count > MOST_PIPELINES:
        raise OptionError(f"{where} makes {count:,} pipelines with all values; the limit is {MOST_PIPELINES:,}")
    for choice in itertools.product(*(_listed(values[key]) for key in keys)):
        chosen = dict(zip(keys, choice, strict=True))
        yield Pipeline(name, tuple(_filled(template, chosen) for template in templates), chosen, varied)


def _values(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values of a table: texts, numbers, or lists of them."""
    for key, value in table.items():
        items = _listed(value)
        if not items or not all(isinstance(item, str | int | float) and not isinstance(item, bool) for item in items):
            raise OptionError(f"{where}: {key} must be a text, a number or a list of them, got {value!r}")
        if len(set(items)) < len(items):
            raise OptionError(f"{where}: {key} lists a value twice")
    return dict(table)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _split(text: str, where: str) -> list[list[str]]:
    """The words of every command of a line, split as by a shell; a leading `prunectl` is optional."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|")
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        words = list(lexer)
    except ValueError as error:
        raise OptionError(f"{where}: {str(error).lower()} in '{text.strip()}'") from error
    commands = [list(group) for is_pipe, group in itertools.groupby(words, lambda w: w == "|") if not is_pipe]
    commands = [command[1:] if command[0] == "prunectl" else command for command in commands]
    if len(commands) != words.count("|") + 1 or not all(commands):
        raise OptionError(f"{where}: a command is missing beside a | in '{' '.join(text.split())}'")
    return commands


def _filled(template: list[str], values: Mapping[str, Value]) -> Command:
    """A command with its placeholders replaced by values."""
    arguments: list[str] = []
    for part in template:
        whole = _PLACEHOLDER.fullmatch(part)
        if whole and isinstance(values[whole[1]], str):
            arguments += shlex.split(str(values[whole[1]]))
        else:
            arguments.append(_PLACEHOLDER.sub(lambda found: str(values[found[1]]), part))
    named = {key for part in template for key in _PLACEHOLDER.findall(part)}
    return Command(tuple(arguments), {key: value for key, value in values.items() if key in named})
