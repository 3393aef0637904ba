"""Consent to run code: what a command line names may run, and with --trust what its files name."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from prunectl.cli import in_process
from prunectl.plugins.registry import names_code
from prunectl.plugins.trust import trusting

_KINDS = {
    "model": "model",
    "data": "data",
    "criterion": "criterion",
    "schedule": "schedule",
    "opt": "optimizer",
    "reg": "regularizer",
    "attack": "attack",
}
"""Parameters whose value names a plug-in of a kind."""


def consenting(command: Callable[..., None]) -> Callable[..., None]:
    """A command that trusts the code which its own options name, and with `trust` all code."""

    @functools.wraps(command)
    def run(**parameters: Any) -> None:
        with trusting(code_in(parameters), everything=bool(parameters.get("trust"))):
            command(**parameters)

    return run


def code_in(parameters: Mapping[str, Any]) -> Iterator[str]:
    """The code that parsed parameters of a command name."""
    for key, kind in _KINDS.items():
        for name in str(parameters.get(key) or "").split(","):
            if names_code(kind, name):
                yield name


@dataclass(frozen=True)
class ConsentingRun:
    """Runs command lines, in any process, with the consent that the user of this one gave."""

    named: tuple[str, ...]
    everything: bool

    def __call__(self, arguments: Sequence[str], told: TextIO | None = None) -> in_process.Ran:
        """Run `prunectl ARGUMENTS`."""
        with trusting(self.named, everything=self.everything):
            return in_process.run(arguments, told)
