"""The program: its commands in groups, and what a wrong command may have meant."""

import difflib
from collections.abc import Sequence
from typing import Any

from typer.core import TyperGroup

from prunectl.cli.help.command import bold, record, write_examples
from prunectl.cli.help.formatter import HelpContext
from prunectl.cli.loading import COMMANDS, NAMES, Commands

HELP = ("-h", "--help")
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

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = Commands()  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands."""
        return list(self.commands)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the options."""
        self.format_commands(ctx, formatter)
        rows = [row for param in self.get_params(ctx) if (row := record(param, ctx)) is not None]
        with formatter.section(bold("Options")):
            formatter.write_dl(rows)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands in their groups."""
        width = max(map(len, NAMES))
        for head, sentences in COMMANDS.items():
            with formatter.section(bold(head)):
                formatter.write_dl([(name.ljust(width), sentence) for name, sentence in sentences.items()])

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
        if name.lower() in OTHER_NAMES:
            return [OTHER_NAMES[name.lower()]]
        close = difflib.get_close_matches(name, [*NAMES, *OTHER_NAMES], n=1, cutoff=0.6)
        return [OTHER_NAMES.get(each, each) for each in close]


def asks_for_help(words: Sequence[str]) -> bool:
    """Whether a command line is nothing but a wish for help: answered without the parser, whose types load slowly."""
    *before, last = words or ("",)
    return last in HELP and (not before or before[0] in NAMES) and not any(word.startswith("-") for word in before)


def help_of(program: Any, words: Sequence[str]) -> str:
    """The help of the command that the words begin with; of the program where they name none."""
    top = HelpContext(program, info_name="prunectl", help_option_names=[*HELP])
    command = program.commands.get(words[0])
    shown = top if command is None else HelpContext(command, info_name=words[0], parent=top, help_option_names=[*HELP])
    return str(shown.get_help())
