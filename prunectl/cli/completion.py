"""Shell completion of option values, without importing torch."""

from collections.abc import Callable, Iterable
from contextlib import suppress

import typer

from prunectl.checkpoints.options.pruning import AUTO
from prunectl.plugins.libraries import READABLE, library_names
from prunectl.plugins.registry import LIBRARIES, PRESETS, names

Complete = Callable[[str], list[str]]


def completes(kind: str) -> Complete:
    """Completes names of a kind; after `torchvision/` or `timm/`, the names of that library."""

    def complete(incomplete: str) -> list[str]:
        library, slash, _ = incomplete.partition("/")
        if slash and kind in LIBRARIES and library in READABLE:
            return _beginning(library_names(library), incomplete)
        return _beginning(names_of(kind), incomplete)

    return complete


def names_of(kind: str) -> list[str]:
    """All values of an option of a kind: names, presets and prefixes."""
    more = {"criterion": [AUTO], "attack": [*PRESETS], "model": [f"{each}/" for each in LIBRARIES["model"]]}
    return [*names(kind), *more.get(kind, [])]


def completes_one(*values: str) -> Complete:
    """Completes one of these values."""
    return lambda incomplete: _beginning(values, incomplete)


def completes_list(values: Callable[[], Iterable[str]]) -> Complete:
    """Completes values separated by commas, each once."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        taken = before.split(",")
        return [f"{before}{comma}{value}" for value in values() if value.startswith(last) and value not in taken]

    return complete


def completes_options(kind: str, parameter: str, default: str = "") -> Callable[[typer.Context, str], list[str]]:
    """Completes `-O KEY=` for the plug-in in another option of the command, or its default."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        from prunectl.errors import UnknownName
        from prunectl.plugins.facts import facts

        found: list[str] = []
        for name in str(ctx.params.get(parameter) or default).split(","):
            with suppress(UnknownName):
                found += facts(kind, name).options if name in names(kind) else ()
        return _beginning([f"{key}=" for key in dict.fromkeys(found)], incomplete)

    return complete


def _beginning(values: Iterable[str], incomplete: str) -> list[str]:
    return [value for value in values if value.startswith(incomplete)]
