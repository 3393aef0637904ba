"""Prints lines and tables for people on stderr. Stdout carries only paths and records."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO

from prunectl.checkpoints.escapes import visible
from prunectl.cli.heartbeat import running
from prunectl.cli.names import first_broken
from prunectl.cli.terminal import console, raw, wrapped
from prunectl.cli.verbosity import is_quiet
from prunectl.errors import FileError


def emit(text: object) -> None:
    """Print one line on stdout: a path unchanged, a text with escapes.

    Raises:
        FileError: it cannot be written (a full disk).
    """
    _note()
    _write(f"{visible(text) if isinstance(text, str) else text}\n", sys.stdout)


def emit_lines(text: str) -> None:
    """Print a text of several lines on stdout, such as CSV.

    Raises:
        FileError: as `emit`.
    """
    _write(f"{text}\n", sys.stdout)


def _write(text: str, stream: TextIO) -> None:
    try:
        print(text, end="", file=stream, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        stdout = sys.__stdout__
        if stdout is not None and raw(sys.stdout) is stdout:  # else the line is tried again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
        raise FileError(f"cannot write to stdout: {error.strerror}") from error


def say(text: str) -> None:
    """Print one line on stderr, unless --quiet is set."""
    if not is_quiet():
        _print(text)


def warn(text: str) -> None:
    """Print a warning on stderr."""
    _print(f"warning: {text}")


def _print(text: str) -> None:
    """Print a line; a failure to write it (a log on a full disk) must not end the work."""
    with suppress(OSError):
        print(wrapped(visible(text)), file=sys.stderr, flush=True)  # noqa: T201
    _note()


def _note() -> None:
    """Restart the waiting time of the heartbeat."""
    beat = running()
    if beat is not None:
        beat.note()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a plain table on stderr, in the terminal's width, else $COLUMNS, else 80; only the first column is text."""
    if is_quiet():
        return
    from rich.table import Table

    shown = Table(box=None, pad_edge=False)
    for i, title in enumerate(head):
        shown.add_column(title, justify="right" if i else "left", overflow="fold")
    terminal = console(sys.stderr, _width(sys.stderr))
    for row in first_broken(head, rows, terminal.width):
        shown.add_row(*row)
    with suppress(OSError):  # as `say`
        terminal.print(shown)


def _width(stream: TextIO) -> int | None:
    """The columns to fill: None for a terminal's own, else $COLUMNS, else 80."""
    given = os.environ.get("COLUMNS", "")
    return None if stream.isatty() else int(given) if given.isdecimal() and int(given) else 80


def markdown(text: str) -> None:
    """Print prunectl's own Markdown on stdout, in the terminal's width, else $COLUMNS, else 80.

    Raises:
        FileError: as `emit`.
    """
    from prunectl.cli.markdown import laid_out

    width = _width(sys.stdout) or shutil.get_terminal_size().columns
    _write(laid_out(text, width, colours=sys.stdout.isatty()) + "\n", raw(sys.stdout))


def counted(number: float | None) -> str:
    """A count in three digits: 1.20M."""
    if number is None:
        return "-"
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def many(count: int, noun: str) -> str:
    """1 step, 1,200 steps."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def percent(share: float | None) -> str:
    """A share in percent."""
    return "-" if share is None else f"{100 * share:.2f}%"


def times(ratio: float) -> str:
    """A ratio to at least three digits, as `1.96x` or `2.00x`."""
    return f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.1f}x" if ratio < 100 else f"{ratio:,.0f}x"


def pruned(event: dict[str, Any]) -> str:
    """The result of one round of pruning during training."""
    nodes = f"node sparsity {event['node_sparsity']:.4f}, " if "node_sparsity" in event else ""
    flops = f", {counted(event['flops'])} FLOPs" if "flops" in event else ""
    when = f"step {event['step']}" if "step" in event else f"epoch {event['epoch']}"
    reached = f"after {when}: {nodes}weight sparsity {event['weight_sparsity']:.4f}{flops}"
    return "; ".join([reached, *unreached(event)])


def repaired(result: Mapping[str, Any]) -> list[str]:
    """The lines about a repair: the mean errors, and the layers that it did not change."""
    layers, wide = result.get("layers", []), result.get("too_wide", [])
    shown = ", ".join(wide[:5]) + (", ..." if len(wide) > 5 else "")
    skipped = [f"        left out (too many inputs for least squares): {shown}"] if wide else []
    if not layers and wide:
        return ["repair: no layer was fitted", *skipped]
    if not layers:
        return ["repair: only BatchNorm statistics"]
    before, after = (sum(layer[key] for layer in layers) / len(layers) for key in ("before", "after"))
    same = sum(layer["before"] == layer["after"] for layer in layers)
    left = f"; {many(same, 'layer')} not changed" if same else ""
    error = f"mean squared error of their outputs, in units of their variance, {before:.3f} -> {after:.3f}"
    return [f"repair: {many(len(layers), 'layer')}, {error}{left}", *skipped]


def thin_groups(result: Mapping[str, Any]) -> str | None:
    """A warning about groups that keep less than a tenth of their nodes."""
    thin = result.get("thin_groups", [])
    shown = ", ".join(thin[:5]) + (", ..." if len(thin) > 5 else "")
    many = "1 group keeps" if len(thin) == 1 else f"{len(thin)} groups keep"
    return (
        f"{many} less than a tenth of the nodes ({shown}); --normalize and --max-pruned spread the loss"
        if thin
        else None
    )


def odd_widths(result: Mapping[str, Any], multiple_of: int | str) -> str | None:
    """The layers that --multiple-of left at another width."""
    odd = result.get("odd_widths", [])
    shown = ", ".join(odd[:5]) + (", ..." if len(odd) > 5 else "")
    multiple = 8 if multiple_of == "auto" else multiple_of
    why = "too few nodes there, or too many that must stay"
    return f"widths that are not a multiple of {multiple}: {shown} ({why})" if odd else None


def multiples(result: Mapping[str, Any]) -> str | None:
    """A line about --multiple-of auto: how many groups keep a multiple of 8, and how many any number."""
    groups: dict[str, int] = result.get("multiples", {})
    found = [f"multiples of {step} in {many(count, 'group')}" for step, count in groups.items() if step != "1"]
    found += [f"any number in {many(groups['1'], 'group')} of up to 16 nodes"] if "1" in groups else []
    return f"widths: {', '.join(found)}" if found else None


def unreached(result: Mapping[str, Any]) -> list[str]:
    """A warning about classes that no longer depend on the image."""
    lost = result.get("unreached_classes", [])
    shown = ", ".join(map(str, lost[:10])) + (", ..." if len(lost) > 10 else "")
    return [f"no kept weight leads to {len(lost)} of the classes ({shown})"] if lost else []
