"""Options of a plug-in: its keyword-only arguments, set as `-O key=value`."""

import inspect
import math
from collections.abc import Iterable
from typing import Any

from prunectl.errors import OptionError

_REQUIRED = inspect.Parameter.empty


def keyword_options(plugin: Any, given: dict[str, str], what: str) -> dict[str, Any]:
    """Turn `-O key=value` texts into the keyword-only arguments of a plug-in, each read as its default's type.

    A plug-in that takes any keyword (`**options`) gets other keys as numbers or truth values if their text is one.

    Raises:
        OptionError: an unknown key (the message lists the known ones), an invalid value, or not a function.
    """
    return shared_options((plugin,), given, what)[0]


def shared_options(plugins: Iterable[Any], given: dict[str, str], what: str) -> list[dict[str, Any]]:
    """The same for plug-ins that share one list of options: each gets the options that it has.

    Raises:
        OptionError: as `keyword_options`.
    """
    takes = [_keywords(plugin, given, what) for plugin in plugins]
    known = {key: value for each in takes for key, value in each.items()}
    stray = next((key for key in given if key not in known), None)
    if stray is not None:
        listing = ", ".join(key if value is _REQUIRED else f"{key}={value}" for key, value in known.items()) or "none"
        raise OptionError(f"{what} has no option '{stray}'; its options: {listing}")
    read = {key: _read(text, known[key], f"option '{key}' of {what}") for key, text in given.items()}
    return [{key: value for key, value in read.items() if key in each} for each in takes]


def _keywords(plugin: Any, given: dict[str, str], what: str) -> dict[str, Any]:
    """The keyword-only arguments of a plug-in and their defaults; if it takes any keyword, also those in `given`."""
    try:
        parameters = inspect.signature(plugin).parameters
    except (TypeError, ValueError) as error:
        raise OptionError(f"{what} is a {type(plugin).__name__}, expected a function") from error
    known = {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    any_name = (key for key in given if key.isidentifier())
    return {**dict.fromkeys(any_name, None), **known} if takes_any else known


def _read(text: str, default: Any, what: str) -> Any:
    """Read a text as the type of a default value."""
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    try:
        if isinstance(default, bool):
            return words[text.lower()]
        if default is _REQUIRED:
            return text
        value = _value(text) if default is None else type(default)(text)
    except (ValueError, KeyError):
        raise OptionError(
            f"{what} takes a value of type {type(default).__name__}, such as {default}, got '{text}'"
        ) from None
    if isinstance(value, float) and math.isnan(value):
        raise OptionError(f"{what} takes a number, got '{text}'")
    return value


def _value(text: str) -> bool | int | float | str:
    """A truth value or a number if the text is one, else the text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
