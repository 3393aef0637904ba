"""The pipeline on Fashion-MNIST, where PRUNECTL_DATA_DIR holds it."""

import json
import os
from pathlib import Path

import pytest

from tests.helpers.running import run_cli

HERE = os.environ.get("PRUNECTL_DATA_DIR", "")
PRESENT = bool(HERE) and (Path(HERE) / "FashionMNIST").is_dir()


@pytest.mark.skipif(not PRESENT, reason="not run: PRUNECTL_DATA_DIR holds no FashionMNIST")
def test_pipeline_on_fashion_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNECTL_DATA_DIR", HERE)
    path = "small"
    for line in (
        "train --model lenet300 --data fashionmnist --subset 3000 --epochs 3",
        "prune -s 0.9",
        "train --epochs 2 --subset 3000",
        "shrink",
        "eval --no-latency",
        "attack --attack fgsm -n 100",
    ):
        ran = run_cli(tmp_path, *line.split(), stdin=path)
        assert ran.code == 0, ran.err
        path = ran.out
    rows = json.loads(run_cli(tmp_path, "report", "--parents", "--json", stdin=path).out)
    assert len(rows) == 4
    assert rows[-1]["accuracy"] > 0.75
    assert rows[-1]["weight_sparsity"] >= 0.9
    assert rows[-1]["flops"] < rows[0]["flops"]
    robust = [result["robust_accuracy"] for result in rows[-1]["robust"]["fgsm on 100 of 10000 images"]]
    assert robust == sorted(robust, reverse=True)
