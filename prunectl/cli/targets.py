"""Options for how far and when to prune: a sparsity, a budget, a threshold, a pattern; epochs or steps."""

from typing import Annotated

import typer

from prunectl.errors import OptionError

DEFAULT_SPARSITY = 0.9
DEFAULT_SCOPES = {"n:m": "2:4", "sr-ste": "2:4"}
"""Criteria whose own scope is a target, listed so that torch is not imported."""
Sparsity = Annotated[
    float | None,
    typer.Option(
        "-s",
        "--sparsity",
        "--amount",
        help=f"Share of the dense network's weights, or nodes, to prune, in (0, 1)  [default: {DEFAULT_SPARSITY}]",
        show_default=False,
    ),
]
Params = Annotated[
    str | None,
    typer.Option(
        metavar="BUDGET", help="Prune nodes to this number of parameters: 2x or 0.5x (half of them), or 1.2M."
    ),
]
Flops = Annotated[
    str | None,
    typer.Option(metavar="BUDGET", help="Prune nodes to these FLOPs: 8x or 0.125x (an eighth), or 300M."),
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="BUDGET",
        help="Prune nodes to this size of the shrunk tensors in float32: 4x or 0.25x (a quarter), or 200KB.",
    ),
]
PruneDelay = Annotated[
    str | None,
    typer.Option(
        metavar="DELAY",
        help="Prune after DELAY + EVERY, DELAY + 2 EVERY, ...: epochs, or steps such as 50s  [default: the "
        "criterion's, usually 4; less in short runs]",
        show_default=False,
    ),
]
PruneEvery = Annotated[
    str | None,
    typer.Option(
        metavar="EVERY",
        help="Epochs between two pruning rounds, or steps such as 100s  [default: the criterion's, usually 4; less "
        "in short runs]",
        show_default=False,
    ),
]


def sparsity_for(
    sparsity: float | None,
    threshold: float | None,
    min_accuracy: float | None,
    scope: str | None,
    budgets: dict[str, str | None],
) -> float | None:
    """The requested sparsity, 0.9 without a target; None with a budget, a threshold or a pattern.

    Raises:
        OptionError: there are several targets, or an invalid one.
    """
    from prunectl.checkpoints.options.pruning import check_sparsity
    from prunectl.pruning.budget import Budget

    given = {kind: text for kind, text in budgets.items() if text is not None}
    flags: dict[str, object] = {"--sparsity": sparsity, "--threshold": threshold, "--min-accuracy": min_accuracy}
    flags |= {f"--{kind}": text for kind, text in given.items()}
    named = [flag for flag, value in flags.items() if value is not None]
    named += [f"--scope {scope}"] if scope is not None and scope.replace(":", "", 1).isdigit() and ":" in scope else []
    if len(named) > 1:
        raise OptionError(f"use one target, got {' and '.join(named)}")
    for kind, text in given.items():
        Budget.read(kind, text)
        return None
    if named and sparsity is None:
        return None
    sparsity = DEFAULT_SPARSITY if sparsity is None else sparsity
    check_sparsity(sparsity)
    return sparsity
