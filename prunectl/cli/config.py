"""Options from the environment and from a TOML file, below those of the command line."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from prunectl.checkpoints.texts import parsed_toml
from prunectl.errors import OptionError


def configure(ctx: typer.Context, path: Path | None) -> Path | None:
    """Below the command line: PRUNECTL_LR=0.1 in the environment, then the command's table in a TOML file."""
    settable = (param for param in ctx.command.params if param.opts[0].startswith("-") and param.name != "config")
    known = {_key(each): param for param in settable for each in _spellings(param.opts)}
    values = {} if path is None else _table(ctx, path, set(known))
    for key in known:
        text = os.environ.get(f"PRUNECTL_{key.upper()}")
        if text is not None:
            values[key] = text
    for key, value in values.items():
        if getattr(known[key], "multiple", False) and isinstance(value, str):
            values[key] = value.split()
    ctx.default_map = {str(known[key].name): value for key, value in values.items()}
    return path


def _spellings(options: Sequence[str]) -> Sequence[str]:
    """The long spellings of an option, else the short one."""
    return [each for each in options if each.startswith("--")] or options


def _key(option: str) -> str:
    """How an option is called in a file, and in capitals in the environment: --batch-size is batch_size, -O is O."""
    return option.lstrip("-").replace("-", "_")


def _table(ctx: typer.Context, path: Path, known: set[str]) -> dict[str, Any]:
    """The options of the running command in a TOML file."""
    try:
        tables = parsed_toml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"cannot read --config {path}: {error}") from error
    command = str(ctx.info_name)
    commands = getattr(ctx.parent.command, "commands", {}) if ctx.parent is not None else {}
    for table, values in tables.items():
        if not isinstance(values, dict) or table not in commands:
            raise OptionError(f"--config {path}: '{table}' is no command; put options in a table such as [{command}]")
    values = {_key(key): value for key, value in tables.get(command, {}).items()}
    unknown = sorted(set(values) - known)
    if unknown:
        raise OptionError(f"--config {path}: [{command}] has no option '{unknown[0]}'; see prunectl {command} --help")
    return values
