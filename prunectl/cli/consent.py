"""Consent to run code: code named on the command line may run, and with --trust code named in its files."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prunectl.plugins.registry import names_code
from prunectl.plugins.trust import trusting


def consenting(name: str, command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command so that it trusts the code named in its own options, and with `trust` all code."""

    @functools.wraps(command)
    def run(**parameters: Any) -> None:
        with trusting(_code_in(name, parameters), everything=bool(parameters.get("trust"))):
            command(**parameters)

    return run


def _code_in(command: str, parameters: Mapping[str, Any]) -> Iterator[str]:
    """The code named in the parsed parameters of a command."""
    from prunectl.checkpoints.options.table import plugins_in

    attacks = [("attack", name) for name in str(parameters.get("attack") or "").split(",")]
    for kind, spec in [*plugins_in(command, parameters).items(), *attacks]:
        if names_code(kind, spec):
            yield spec
