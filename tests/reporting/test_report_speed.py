"""Speed on the page: networks take turns in ONNX Runtime, and why one is not faster."""

import pytest
import torch

from prunectl.reporting.findings import Timing
from prunectl.reporting.network import onnx, seconds
from prunectl.reporting.network.aside import put_aside_, take_back_
from prunectl.reporting.network.onnx import seconds_in_onnx
from prunectl.reporting.network.reasons import reasons


def two_networks():
    return {name: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)) for name in ("dense", "masked")}


@pytest.mark.parametrize(
    ("large", "at_once", "loads"),
    [pytest.param(1 << 30, 2, 2, id="small"), pytest.param(0, 1, 6, id="large", marks=pytest.mark.long)],
)
def test_onnx_runtime_times_networks_in_turns_and_holds_one_large_one_at_a_time(large, at_once, loads, monkeypatch):
    held, most, made = [], [], []

    class Session:
        def __init__(self, file, *, threads):
            made.append(file.stem)
            held.append(file)
            most.append(len(held))

        def __call__(self, images):
            return images

        def __del__(self):
            held.pop()

    monkeypatch.setattr(onnx, "LARGE", large)
    monkeypatch.setattr(onnx, "Session", Session)
    monkeypatch.setattr(onnx, "write_onnx", lambda model, shape, file: None)
    monkeypatch.setattr(seconds, "_SECONDS", 0.0)
    monkeypatch.setattr("prunectl.measuring.latency.TURN_SECONDS", 0.0)
    networks = two_networks()
    found = seconds_in_onnx(networks, (1, 4, 4))
    assert {key: len(taken) for key, taken in found.items()} == dict.fromkeys(
        [(name, batch) for name in networks for batch in (1, 64)], 9
    )
    assert (max(most), len(made), made[:2]) == (at_once, loads, ["dense", "masked"])
    empty = not any(weight.any() for network in networks.values() for weight in network.parameters())
    assert empty is (large == 0)


def test_the_values_of_a_network_wait_in_a_file(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 4, bias=False))
    network[0].weight.data = network[0].weight.data.to(memory_format=torch.channels_last)
    network.append(torch.nn.Linear(4, 4))[3].weight = network[2].weight
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    put_aside_(network, tmp_path / "values")
    assert not any(tensor.any() for tensor in network.state_dict().values())
    take_back_(network, tmp_path / "values")
    after = network.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)
    assert network[2].weight is network[3].weight


@pytest.mark.long
@pytest.mark.parametrize("large", [1 << 30, 0], ids=["small", "large"])
def test_networks_run_in_onnx_runtime(large, monkeypatch):
    monkeypatch.setattr(onnx, "LARGE", large)
    found = seconds_in_onnx(two_networks(), (1, 4, 4))
    assert len(found) == 4 and all(0 < second < 10 for taken in found.values() for second in taken)


def test_a_network_that_onnx_runtime_cannot_run_is_one_line():
    class Odd(torch.nn.Module):
        def forward(self, images):
            raise ValueError("no images today")

    found = seconds_in_onnx({"dense": Odd()}, (1, 4, 4))
    assert found.startswith("Not timed in ONNX Runtime: ") and "no images today" in found and "\n" not in found


def test_reasons_name_what_holds_a_small_network_back():
    def time(network: str, seconds: float) -> Timing:
        return Timing(network, "torch", 1, seconds, seconds, seconds, 9)

    networks = {"dense": torch.nn.Linear(64, 64), "shrunk": torch.nn.Linear(64, 13)}
    found = reasons([time("dense", 1e-3), time("masked", 1e-3), time("shrunk", 0.9e-3)], networks, (1, 4, 64))
    assert found == [
        "Masked: no faster than dense, because the same kernels multiply by zeros. Only removed nodes save time.",
        "Shrunk, batch 1: 1.11x the speed of dense, but its FLOPs promise 4.92x. Likely: too small: the dense "
        "network takes 1.00 ms, most of it overhead between operations; memory-bound: only 2.0 FLOPs per byte of "
        "weights; "
        "odd widths: the outputs of 1 of 1 layers are not a multiple of 8.",
    ]
    assert reasons([time("dense", 1e-3), time("shrunk", 0.2e-3)], networks, (1, 4, 64)) == []


def test_odd_widths_explain_a_slow_onnx_runtime():
    def time(network: str, runtime: str, seconds: float) -> Timing:
        return Timing(network, runtime, 64, seconds, seconds, seconds, 9)

    def network(width: int) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Conv2d(3, width, 3), torch.nn.Flatten(), torch.nn.Linear(width * 36, 10))

    networks = {"dense": network(64), "shrunk": network(13)}
    timings = [time("dense", "torch", 0.1), time("shrunk", "torch", 0.01)]
    timings += [time("dense", "ONNX Runtime", 0.0194), time("shrunk", "ONNX Runtime", 0.0256)]
    (first, last) = reasons(timings, networks, (3, 8, 8))
    assert first.startswith("Shrunk, batch 64 in ONNX Runtime: 0.76x the speed of dense, but its FLOPs promise 4.92x.")
    assert last == (
        "1 of 2 layers has a width that is not a multiple of 8 (0: 13): ONNX Runtime may run the network slower than "
        "the dense one; to avoid that, prune with `--multiple-of auto`."
    )
    assert reasons(timings, networks, (3, 8, 8), hints=False) == [first]
    assert reasons(timings[:2], {"dense": network(64), "shrunk": network(16)}, (3, 8, 8)) == []
