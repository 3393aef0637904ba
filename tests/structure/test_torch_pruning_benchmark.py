"""The benchmark against torch-pruning tells what is exact from what is not."""

import pytest

from tests.benchmarks import peers
from tests.helpers.networks import randomise_
from tests.helpers.toys import TOYS

pytest.importorskip("torch_pruning")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the peer


@pytest.mark.parametrize("name", ["residual", "dense-concat", "convnext", "flatten-spatial"])
def test_the_peer_is_measured(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(peers, "CLASSES", 3)
    build, shape = TOYS[name]
    found = peers.torch_pruning_side(randomise_(build()).double().eval(), shape, 0.3)
    assert found["runs"]
    assert found["alive"] < 1e-12
    assert (found["error"] < 1e-12) == (name != "convnext")  # its LayerNorms count what is gone
    assert 0.3 < found["kept"] < 0.8


@pytest.mark.parametrize("name", ["residual", "dense-concat", "convnext", "flatten-spatial", "attention-fused-sdpa"])
def test_prunectl_is_measured(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(peers, "CLASSES", 3)
    build, shape = TOYS[name]
    found = peers.prunectl_side(randomise_(build()).double().eval(), shape, 0.3)
    assert found["runs"]
    assert found["error"] < 1e-12
    assert 0.3 < found["kept"] < 0.8


def test_wrong_positions_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "CLASSES", 3)
    fill = peers._fill_

    def shifted(small, model, where) -> None:
        name = next(iter(where))
        where[name] = where[name].roll(1, 0)
        fill(small, model, where)
        where[name] = where[name].roll(-1, 0)

    monkeypatch.setattr(peers, "_fill_", shifted)
    build, shape = TOYS["residual"]
    assert peers.torch_pruning_side(randomise_(build()).double().eval(), shape, 0.3)["error"] > 1e-3


def test_a_row() -> None:
    record = {"network": "a", "side": "b", "runs": True, "error": 2e-16, "seconds": 1.25, "mb": 10.4, "kept": 0.5}
    assert peers.row(record) == "| a | b | yes | 2e-16 |  | 1.2 | 10 | 0.50 |  |"
