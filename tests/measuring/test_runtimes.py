"""Latency in torch, torch.compile and ONNX Runtime: what is measured, what is recorded and shown, what is refused."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn

from prunectl.checkpoints.record_checks import check_result
from prunectl.errors import OptionError, StructureError, UnknownName
from prunectl.measuring.evaluate import evaluate
from prunectl.measuring.latency import Ratio, latencies
from prunectl.measuring.onnx import ONNX_FOLDER, onnx_session
from prunectl.measuring.runtimes import check_available, network_in, ready
from prunectl.pruning.budget import Budget
from prunectl.pruning.latency_target import missed
from prunectl.pruning.node_costs import BudgetMeter
from prunectl.structure.trace import analyse
from prunectl.torchtools.temporaries import temporary
from tests.helpers.networks import checkpoint_of, image_data

SHAPE, CPU = (1, 8, 8), torch.device("cpu")


def network() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Dropout(0.5), nn.Linear(24, 3))


@pytest.fixture
def compiles(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """torch.compile that compiles nothing; the sizes of the batches that run are noted."""
    sizes: list[int] = []

    def compiled(model: nn.Module, *, dynamic: bool):
        assert not dynamic
        return lambda images: sizes.append(len(images)) or model(images)

    monkeypatch.setattr(torch, "compile", compiled)
    return sizes


def test_a_session_leaves_nothing_in_the_temporary_folder_and_takes_away_what_a_kill_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    ours = temporary(tmp_path / ONNX_FOLDER)
    left = ours.with_name(ours.name.replace(f".{os.getpid()}-", f".{dead.pid}-"))
    left.mkdir()
    (left / "network.onnx").write_bytes(b"")
    onnx_session(network(), SHAPE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("runtime", ["eager", "onnx"])
def test_every_runtime_computes_the_same_on_any_batch(runtime: str) -> None:
    model = network().eval()
    run = network_in(runtime, model, SHAPE)
    for size in (1, 5):
        images = torch.randn(size, *SHAPE)
        assert torch.allclose(run(images), model(images), atol=1e-5)
        assert torch.allclose(ready(run, runtime, images).run(), model(images), atol=1e-5)


@pytest.mark.slow  # a minute of compiling
def test_a_compiled_network_computes_the_same() -> None:
    model, images = network().eval(), torch.randn(4, *SHAPE)
    made = ready(network_in("compiled", model, SHAPE), "compiled", images)
    assert made.compile_s is not None and made.compile_s > 0
    assert torch.allclose(made.run(), model(images), atol=1e-5)


def test_runtimes_take_turns_and_compiling_is_not_counted(compiles: list[int]) -> None:
    model = network().train()
    found = latencies(model, SHAPE, ["compiled", "eager"])
    assert [(each["runtime"], each["batch"]) for each in found] == [
        *(("compiled", 1), ("eager", 1), ("compiled", 64), ("eager", 64)),
    ]
    assert all(0 < each["low_s"] <= each["median_s"] <= each["high_s"] < 1 and each["runs"] >= 7 for each in found)
    assert [set(each) - {"compile_s"} == set(found[1]) for each in found] == [True] * 4
    assert [each.get("compile_s", -1) > 0 for each in found] == [True, False, True, False]
    assert (compiles.count(1), compiles.count(64)) == tuple(found[i]["runs"] + 4 for i in (0, 2))  # one compiles
    assert model.training


@pytest.mark.long
def test_a_network_in_another_type_runs_in_onnx_runtime() -> None:
    (one, many) = latencies(network().double(), SHAPE, ["onnx"])
    assert (one["batch"], many["batch"]) == (1, 64)


@pytest.mark.long
def test_a_record_has_the_latency_in_each_runtime(compiles: list[int]) -> None:
    checkpoint = checkpoint_of(network(), SHAPE)
    record = evaluate(checkpoint, image_data(), runtimes=("onnx", "compiled"))
    assert [each["runtime"] for each in record["latency"]] == ["onnx", "compiled"] * 2
    check_result(json.loads(json.dumps(record)))
    alone = evaluate(checkpoint, image_data())["latency"]
    assert [set(each) for each in alone] == [{"batch", "median_s", "iqr_s", "runs"}] * 2


@pytest.mark.long
def test_eval_prints_and_report_shows_the_runtimes(net: Path, raw, compiles: list[int]) -> None:
    ran = raw("eval", net.name, "--runtime", "eager,onnx", "--runtime", "compiled")
    assert ran.code == 0, ran.err
    for batch in ("1 image", "64 images"):
        lines = [line for line in ran.err.splitlines() if f"latency of {batch} (cpu, 1 CPU thread): " in line]
        assert [line.partition("thread): ")[2].split()[0] for line in lines] == ["eager", "onnx", "compiled"]
    assert "torch.compile took " in ran.err and ", which is not counted" in ran.err
    (row,) = json.loads(raw("report", net.name, "--json").out)
    keys = [f"latency_{name}{batch}_s" for name in ("", "compiled_", "onnx_") for batch in (1, 64)]
    assert all(row[key] > 0 for key in keys)
    table = " ".join(raw("report", net.name).out.split())
    assert f"compiled {1e3 * row['latency_compiled_1_s']:.2f} ms {1e3 * row['latency_compiled_64_s']:.2f} ms" in table
    assert f"onnx {1e3 * row['latency_onnx_1_s']:.2f} ms {1e3 * row['latency_onnx_64_s']:.2f} ms" in table


@pytest.mark.long
def test_without_runtimes_the_report_has_no_table_of_them(net: Path, raw) -> None:
    assert "latency of 1 image (cpu, 1 CPU thread): eager " in raw("eval", net.name).err
    assert "runtime" not in raw("report", net.name).out


# --- budgets


@pytest.mark.long
def test_a_latency_budget_is_measured_in_its_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def noted(runtime: str, model: nn.Module, shape: tuple[int, int, int]):
        asked.append(runtime)
        return network_in(runtime, model, shape)

    monkeypatch.setattr("prunectl.pruning.node_costs.network_in", noted)
    wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 4000), nn.ReLU(), nn.Linear(4000, 3))
    checkpoint = checkpoint_of(wide, SHAPE)
    analysis = analyse(wide, SHAPE)
    meter = BudgetMeter(Budget.read("latency", "2x", "onnx"), checkpoint, wide, analysis)
    gone = torch.arange(analysis.structure.nodes) >= 400
    assert meter.latency(gone, limit=0.9).high < 0.9
    assert asked == ["onnx", "onnx"]  # the candidate and, once, the dense network
    meter.latency(torch.arange(analysis.structure.nodes) >= 800, limit=0.9)
    assert asked == ["onnx"] * 3


def test_the_history_and_the_messages_name_the_runtime_of_a_latency(net: Path, raw, monkeypatch) -> None:
    def found(self: BudgetMeter, gone: torch.Tensor, limit: float | None = None) -> Ratio:
        return Ratio(0.4, 0.39, 0.41) if gone.any() else Ratio(1, 1, 1)

    monkeypatch.setattr(BudgetMeter, "latency", found)
    line = ("prune", net.name, "-c", "depgraph", "--latency", "2x")
    ran = raw(*line, "--runtime", "onnx", "-o", "onnx.safetensors")
    assert ran.code == 0 and "measured again, 2.50x, 0.400 (0.390 to 0.410) of the dense latency in onnx, " in ran.err
    assert " --latency 2x --runtime onnx " in " ".join(raw("log", "onnx.safetensors").out.split())
    ran = raw(*line, "-o", "eager.safetensors")
    assert ran.code == 0 and "measured again, 2.50x, 0.400 (0.390 to 0.410) of the dense latency, one image" in ran.err
    assert "--runtime" not in raw("log", "eager.safetensors").out
    assert missed({"latency": "2x", "runtime": "onnx"}, {"latency": 0.6}).startswith(
        "`latency` 2x was requested, measured again it is 0.600 of the dense latency in onnx (95 % interval "
    )


# --- refusals


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("eval net.safetensors --runtime onx", "no runtime named 'onx'; did you mean 'onnx'?"),
        ("eval net.safetensors --runtime eager,", "no runtime named ''"),
        ("eval net.safetensors --runtime onnx --no-latency", "--no-latency leaves out; use one of them"),
        ("prune net.safetensors -c depgraph --flops 2x --runtime onnx", "--runtime says where a --latency is measured"),
        ("prune net.safetensors -c depgraph --latency 2x --runtime tvm", "no runtime named 'tvm'"),
    ],
)
def test_what_is_refused_before_anything_is_read(line: str, message: str, net: Path, refused) -> None:
    assert message in refused(*line.split())


def test_without_onnx_runtime_it_is_one_line(net: Path, refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install 'prunectl[onnx]'" in refused("eval", net.name, "--runtime", "onnx")
    line = refused("prune", net.name, "-c", "depgraph", "--latency", "2x", "--runtime", "onnx", "-o", "x.safetensors")
    assert "pip install 'prunectl[onnx]'" in line


def test_without_a_compiler_it_is_one_line(net: Path, refused, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    with config.patch({"cpp.cxx": ("no-such-compiler",)}):
        line = refused("eval", net.name, "--runtime", "compiled")
    assert "needs a C++ compiler, but none was found; install g++, or name one in the variable CXX" in line


def test_onnx_runtime_measures_on_the_cpu_and_names_are_checked() -> None:
    with pytest.raises(
        OptionError, match="`runtime` onnx measures on the cpu, the network is on cuda; use `device` cpu"
    ):
        check_available("onnx", torch.device("cuda"))
    with pytest.raises(UnknownName, match="no runtime named 'jit'"):
        check_available("jit", CPU)
    for each in ("eager", "onnx", "compiled"):
        check_available(each, CPU)


def test_what_torch_cannot_compile_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(images: torch.Tensor):
        raise RuntimeError("no kernel\nfor this")

    monkeypatch.setattr(torch, "compile", lambda model, dynamic: broken)
    with pytest.raises(StructureError, match=r"^torch.compile cannot compile the network: no kernel; use another `r"):
        latencies(network(), SHAPE, ["compiled"])
    with pytest.raises(StructureError, match="cannot be exported"):
        latencies(Refusing(), SHAPE, ["onnx"])


class Refusing(nn.Linear):
    """Its code looks at values."""

    def __init__(self) -> None:
        super().__init__(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.flatten(1)) if float(x.sum()) > 0 else super().forward(-x.flatten(1))
