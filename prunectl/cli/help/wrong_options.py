"""What an unknown option of a command may have meant."""

import difflib
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from prunectl.cli.help.advice import advice
from prunectl.cli.help.other_options import OTHERS


def meant(wrong: str, command: Any, commands: Mapping[str, Any]) -> str:
    """A sentence that says what an unknown option may have meant: here, else in another command."""
    own, plain = spellings(command), wrong.replace("_", "-").lower()
    found = [each for each in OTHERS.get(plain, ()) if each in own]
    instead = advice(str(command.name), plain) or (None if found else advice("", plain))
    if instead is not None:
        return instead
    found = found or _near(plain.removeprefix("--"), own)
    if found:
        return f"Did you mean {' or '.join(found)}?"
    elsewhere = [name for name, other in commands.items() if wrong in spellings(other)]
    if elsewhere:
        return f"It is an option of {', '.join(elsewhere)}."
    return "" if not commands else f"See prunectl {command.name} --help."


def separate_numbers(words: Sequence[str]) -> tuple[str, str] | None:
    """The first option that several numbers with spaces follow, and these numbers with commas."""
    for i, word in enumerate(words):
        numbers = list(takewhile(_is_number, words[i + 1 :]))
        if word.startswith("--") and len(numbers) > 1:
            return word, ",".join(each.strip(",") for each in numbers)
    return None


def _is_number(word: str) -> bool:
    try:
        float(word.strip(","))
    except ValueError:
        return False
    return True


def spellings(command: Any) -> dict[str, str]:
    """Every long option of a command, and its arguments, with the first spelling of each."""
    found: dict[str, str] = {}
    for param in command.params:
        if param.param_type_name == "argument":
            found[str(param.metavar or param.name).upper()] = str(param.metavar or param.name).upper()
            continue
        long = [each for each in (*param.opts, *param.secondary_opts) if each.startswith("--")]
        found |= {each: each if each in param.secondary_opts else long[0] for each in long}
    return found


def _near(wrong: str, own: Mapping[str, str]) -> list[str]:
    """The options that look most like it, of which it is a part, or that are a part of it."""
    options = {each.removeprefix("--"): first for each, first in own.items() if each.startswith("--")}
    close = difflib.get_close_matches(wrong, options, n=3, cutoff=0.75)
    longer = [each for each in options if len(wrong) > 2 and (each.startswith(wrong) or each.endswith(f"-{wrong}"))]
    shorter = [each for each in options if wrong.endswith(f"-{each}") or wrong.startswith(f"{each}-")]
    whole = [each for each in shorter if not any(other.endswith(f"-{each}") for other in shorter)]
    return list({options[each]: f"--{each}" for each in reversed(longer or whole or close)}.values())[::-1][:2]
