"""Reads options from the environment and a TOML file; those on the command line take precedence."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from prunectl.checkpoints.texts import parsed_toml
from prunectl.errors import OptionError

_YES_OR_NO = frozenset({"0", "1", "true", "false", "yes", "no", "on", "off", "t", "f", "y", "n"})


def configure(ctx: typer.Context, path: Path | None) -> Path | None:
    """Fill options from the environment (PRUNECTL_LR=0.1), then from the command's table in a TOML file."""
    _refuse_unknown(ctx)
    settable = (param for param in ctx.command.params if param.opts[0].startswith("-") and param.name != "config")
    known = {_key(each): param for param in settable for each in _spellings(param.opts)}
    values = {} if path is None else _table(ctx, path, set(known))
    for key, param in known.items():
        text = os.environ.get(f"PRUNECTL_{key.upper()}")
        if text is not None and not _is_for_others(ctx, key, param, text):
            values[key] = text
    for key, value in values.items():
        if getattr(known[key], "multiple", False) and isinstance(value, str):
            values[key] = value.split()
    ctx.default_map = {str(known[key].name): value for key, value in values.items()}
    return path


def _is_for_others(ctx: typer.Context, key: str, param: Any, text: str) -> bool:
    """Whether a text in the environment is meant for other commands.

    Some names, such as LATENCY, are a flag of one command but take a value in another: 0 is for the flag, 0.5x for the
    value.
    """
    commands = getattr(ctx.parent.command, "commands", {}) if ctx.parent is not None else {}
    same = [each for one in commands.values() for each in one.params if key in map(_key, each.opts)]
    kinds = {bool(getattr(each, "is_flag", False)) for each in same}
    return len(kinds) > 1 and (text.lower() in _YES_OR_NO) != bool(getattr(param, "is_flag", False))


def _spellings(options: Sequence[str]) -> Sequence[str]:
    """The long spellings of an option, else the short one."""
    return [each for each in options if each.startswith("--")] or options


def _refuse_unknown(ctx: typer.Context) -> None:
    """Refuse a PRUNECTL_* variable that names no option of any command, as such a key in a file is refused."""
    commands = getattr(ctx.parent.command, "commands", {}) if ctx.parent is not None else {}
    given = sorted(name for name in os.environ if name.startswith("PRUNECTL_")) if commands else []
    if not given:
        return
    known = {_key(option).upper() for each in commands.values() for param in each.params for option in param.opts}
    for name in given:
        if name.removeprefix("PRUNECTL_") not in known:
            raise OptionError(f"no command has the option {name} of the environment; see prunectl {ctx.info_name} -h")


def _key(option: str) -> str:
    """The name of an option in a file (in capitals in the environment): --batch-size is batch_size, -O is O."""
    return option.lstrip("-").replace("-", "_")


def _table(ctx: typer.Context, path: Path, known: set[str]) -> dict[str, Any]:
    """The options for the running command in a TOML file."""
    try:
        tables = parsed_toml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"cannot read --config {path}: {error}") from error
    command = str(ctx.info_name)
    commands = getattr(ctx.parent.command, "commands", {}) if ctx.parent is not None else {}
    for table, values in tables.items():
        if not isinstance(values, dict) or table not in commands:
            raise OptionError(
                f"--config {path}: '{table}' is not a command; put options in a table such as [{command}]"
            )
    values = {_key(key): value for key, value in tables.get(command, {}).items()}
    unknown = sorted(set(values) - known)
    if unknown:
        raise OptionError(f"--config {path}: [{command}] has no option '{unknown[0]}'; see prunectl {command} --help")
    return values
