"""The program: its commands in groups with whole descriptions, and what a wrong command may have meant."""

import difflib
import inspect
from collections.abc import Sequence
from typing import Any

from typer.core import TyperGroup

from prunectl.cli.help.command import bold, record, write_examples
from prunectl.cli.help.formatter import HelpContext

HELP = ("-h", "--help")
COMMANDS: dict[str, tuple[str, ...]] = {
    "Make a network": ("train", "prune", "repair", "shrink", "import", "export"),
    "Measure it": ("eval", "attack", "predict", "report", "sweep"),
    "See what was done": ("log", "diff", "rerun", "inspect", "explain"),
    "Look up": ("criteria", "models", "datasets", "attacks", "guide", "help"),
}
_CALLED = {
    "eval": "test evaluate validate benchmark bench measure profile flops latency",
    "train": "training fit finetune fine-tune retrain resume distill distil",
    "prune": "pruning compress sparsify search tune",
    "repair": "recover recalibrate reconstruct heal fix",
    "shrink": "remove slim thin cut physical",
    "attack": "adversarial robustness corrupt",
    "predict": "infer inference classify",
    "report": "table page compare-all plot dashboard summary",
    "sweep": "grid experiment run",
    "log": "history",
    "inspect": "show info stats layers",
    "explain": "graph dependencies groups",
    "diff": "compare",
    "rerun": "reproduce replay verify",
    "criteria": "criterion methods pruners",
    "models": "model networks architectures",
    "datasets": "data dataset",
    "import": "load",
    "export": "convert onnx deploy quantize quantise save",
    "guide": "docs doc manual tutorial",
    "--version": "version",
}
OTHER_NAMES = {other: ours for ours, names in _CALLED.items() for other in names.split()}
"""What others call a command."""


class Program(TyperGroup):
    """The program, whose help has every command with its whole first sentence."""

    context_class = HelpContext

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the options."""
        self.format_commands(ctx, formatter)
        rows = [row for param in self.get_params(ctx) if (row := record(param, ctx)) is not None]
        with formatter.section(bold("Options")):
            formatter.write_dl(rows)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands in their groups; those without one come last."""
        grouped = {name for names in COMMANDS.values() for name in names}
        others = tuple(name for name in self.commands if name not in grouped)
        width = max(map(len, self.commands))
        for head, names in {**COMMANDS, "Others": others}.items():
            rows = [(name.ljust(width), _first(self.commands[name].help)) for name in names if name in self.commands]
            if rows:
                with formatter.section(bold(head)):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the epilog and examples."""
        super().format_epilog(ctx, formatter)
        write_examples(formatter, "")

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command; an unknown one names the one that was meant."""
        name = args[0]
        if name not in self.commands and not name.startswith("-") and not ctx.resilient_parsing:
            found = self._meant(name)
            hint = f"Did you mean {' or '.join(found)}?" if found else f"Commands: {', '.join(self.commands)}."
            ctx.fail(f"No such command: {name}. {hint}")
        return super().resolve_command(ctx, args)

    def _meant(self, name: str) -> list[str]:
        """The commands that a wrong name may have meant."""
        others = {other: command for other, command in OTHER_NAMES.items() if command in (*self.commands, "--version")}
        if name.lower() in others:
            return [others[name.lower()]]
        close = difflib.get_close_matches(name, [*self.commands, *others], n=1, cutoff=0.6)
        return list(dict.fromkeys(others.get(each, each) for each in close))


def asks_for_help(words: Sequence[str]) -> bool:
    """Whether a command line is nothing but a wish for help: answered without the parser, whose types load slowly."""
    return bool(words) and words[-1] in HELP and not any(word.startswith("-") for word in words[:-1])


def help_of(program: Any, words: Sequence[str]) -> str:
    """The help of the command that the words begin with; of the program where they name none."""
    top = HelpContext(program, info_name="prunectl", help_option_names=[*HELP])
    command = program.commands.get(words[0])
    shown = top if command is None else HelpContext(command, info_name=words[0], parent=top, help_option_names=[*HELP])
    return str(shown.get_help())


def _first(text: str | None) -> str:
    """The first paragraph of a help text, on one line."""
    return " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())
