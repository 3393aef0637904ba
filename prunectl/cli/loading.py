"""The commands: one file each in `commands/`, imported when it is first asked for, and one line here."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import typer

COMMANDS: dict[str, dict[str, str]] = {
    "Make a network": {
        "train": "Train a new network (--model) or a checkpoint; pruned weights stay at zero.",
        "prune": "Prune weights or nodes of a checkpoint, or of a new network (--model) before training.",
        "repair": "Recover accuracy lost by pruning, without training: fit the kept weights to the dense network.",
        "shrink": "Remove pruned nodes, and prove that the smaller network gives the same outputs.",
        "import": "Make a checkpoint from the weights of a network that another program trained.",
        "export": "Write a network for use without prunectl: ONNX, torch.export, a Hugging Face folder or a loader.",
    },
    "Measure it": {
        "eval": "Measure a network: accuracy, loss, confusion, weights, nodes, FLOPs, bytes, latency, memory.",
        "attack": "Attack the test images and measure the robust accuracy at every eps.",
        "predict": "Classify image files: one JSON line for each, or a table on a terminal.",
        "report": "Compare checkpoints in a table or a page: how they were made, and what eval and attack measured.",
        "sweep": "Run a grid of pipelines; shared stages run once.",
    },
    "See what was done": {
        "log": "Show the commands that made a checkpoint, with seeds, versions and hashes.",
        "diff": "Show what differs between two checkpoints: commands and options, masks, widths, weights, accuracy.",
        "rerun": "Re-run a checkpoint's history and check that it reproduces bit for bit.",
        "inspect": "Show the contents of a checkpoint: header, history, and sparsity of every layer.",
        "explain": "Show which nodes of a network can be pruned, how they are coupled, and what must stay, and why.",
    },
    "Look up": {
        "criteria": "List the criteria, or show one: what it prunes and when, its options, source and use.",
        "models": "List the networks that --model takes, or show one with its options.",
        "datasets": "List the datasets that --data takes, or show one.",
        "attacks": "List the attacks, or show one: its norm, options and use.",
        "guide": "Read the guide: the list of its pages, or one page.",
        "help": "Show the help of a command, or of prunectl.",
    },
}
"""Groups of the help -> command -> the first sentence of its docstring, so that the list of commands loads none."""
NAMES = tuple(name for names in COMMANDS.values() for name in names)


class Commands(Mapping[str, Any]):
    """The parser's commands by name; each is imported when it is first taken."""

    def __getitem__(self, name: str) -> Any:
        if name not in NAMES:
            raise KeyError(name)
        return _parsed(name)

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)

    def __contains__(self, name: object) -> bool:
        return name in NAMES


def callback(name: str) -> Callable[..., None]:
    """The function of a command with all that every command has: trust, torchrun, --quiet, loading ahead."""
    from prunectl.cli.consent import consenting
    from prunectl.cli.torchrun import joining
    from prunectl.cli.waiting import loading_ahead
    from prunectl.cli.watched import watched

    file = f"{name}_" if name == "import" else name
    command: Callable[..., None] = importlib.import_module(f"prunectl.cli.commands.{file}").command
    return watched(name, loading_ahead(name, consenting(name, joining(name, command))))


@cache
def _parsed(name: str) -> Any:
    """A command as the parser has it."""
    from prunectl.cli.help.command import Command

    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    alone.command(name, cls=Command)(callback(name))
    return typer.main.get_command(alone)
