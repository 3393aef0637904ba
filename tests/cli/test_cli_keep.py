"""--keep on the command line: pruned around, recorded, run again."""

import json
import shlex

import pytest
from safetensors.torch import load_file

from prunectl.checkpoints.lineage import lineage

SMALL = "--model lenet300 --subset 128"
KEEP = "--keep classifier --keep 'features.5.b*'"


@pytest.mark.parametrize(
    "line",
    [
        f"prune {SMALL} -c magnitude -s 0.5 {KEEP}",
        f"train {SMALL} --epochs 2 -c snapit-during -s 0.2 --prune-delay 0 --prune-every 1 --schedule one-shot {KEEP}",
    ],
)
def test_what_is_kept_is_in_the_history_and_run_again(line, cli, tmp_path) -> None:
    cli(*shlex.split(line), "-o", "a.safetensors")
    shown = cli("log", "a.safetensors")
    assert "--keep classifier" in shown and "--keep 'features.5.b*'" in shown
    arguments = lineage(tmp_path / "a.safetensors")[-1].arguments
    assert [part for part in arguments if part.startswith("--keep")] == ["--keep=classifier", "--keep=features.5.b*"]
    assert json.loads(cli("inspect", "a.safetensors", "--json"))["history"][-1]["options"]["keep"] == [
        "classifier",
        "features.5.b*",
    ]
    made = cli("rerun", "a.safetensors", "-o", "again").strip()
    one, other = load_file(tmp_path / "a.safetensors"), load_file(tmp_path / made)
    assert all((one[name] == other[name]).all() for name in one)
    last = one["classifier.0.weight"]
    assert int((last != 0).sum()) == last.numel() == 1000


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("prune -c magnitude -s 0.5 --keep heda", "no layer named 'heda'; "),
        ("prune -c magnitude -s 0.99 --keep '*'", "--keep covers all layers with weights, so nothing can be pruned"),
        ("prune -c snap -s 0.99 --keep classifier", "and 100 in the layers of --keep; ask for less pruning"),
        ("prune -c snip -s 0.5 --multiple-of 2", "--normalize and --max-pruned are for criteria of"),
        ("train --keep classifier", "--keep is for pruning during training; add a --criterion"),
    ],
)
def test_what_cannot_be_kept_is_one_line(line, told, refused) -> None:
    words = shlex.split(line)
    assert told in refused(words[0], *SMALL.split(), *words[1:])
