"""Messages of the library name parameters; the command line shows the flags of the command that runs."""

import re
from pathlib import Path

import pytest
import typer

from prunectl.cli.app import app, with_flags

PARAMETERS = {name: command.params for name, command in typer.main.get_command(app).commands.items()}


@pytest.mark.parametrize(
    ("command", "text", "shown"),
    [
        ("prune", "`multiple_of` and `min_nodes` are for nodes", "--multiple-of and --min-nodes are for nodes"),
        ("prune", "`steps` and `batch_size` 1", "--steps and --batch-size 1"),
        ("prune", "`plugin_options`", "-O"),
        ("train", "or a smaller `prune_delay`", "or a smaller --prune-delay"),
        ("shrink", "`prune_delay` and `sparsity` stay", "`prune_delay` and `sparsity` stay"),
        ("prune", "run `prunectl prune` on `checkpoint`", "run `prunectl prune` on `checkpoint`"),
        ("prune", "sparsity 0.5", "sparsity 0.5"),
    ],
)
def test_parameters_in_backticks_become_flags(command, text, shown) -> None:
    assert with_flags(text, PARAMETERS[command]) == shown


@pytest.mark.parametrize("files", ["pruning/**/*.py", "criteria/**/*.py", "training/pruning_*.py"])
def test_these_rooms_name_no_flags_in_messages(files) -> None:
    """But for a whole command line as the next step."""
    paths = sorted((Path(__file__).parent.parent.parent / "prunectl").glob(files))
    assert paths
    found = [
        line.strip()
        for path in paths
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"--[a-z]", re.sub(r"prunectl \w+ --\w+|`[^`]*--[^`]*`", "", line)) and '"' in line
    ]
    assert found == []
