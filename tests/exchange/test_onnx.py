"""ONNX files: what they say, what surrounds the network, smaller types, and what is refused."""

import json
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import load, read
from prunectl.checkpoints.files import sha256
from prunectl.errors import DataError, OptionError, ProofError, StructureError
from prunectl.exchange import programs
from prunectl.exchange.check import worst_difference
from prunectl.exchange.export import export
from prunectl.models.fresh import from_module
from tests.helpers.alone import relative
from tests.helpers.marks import quick_rows
from tests.helpers.networks import checkpoint_of, image_data
from tests.helpers.running import listing

SHAPE = (1, 8, 8)


def metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def outputs(path: Path, images: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(str(path))
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    return torch.from_numpy(found)


class FixedBatch(nn.Module):
    """Its code names the size of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.reshape(2, 64)) if len(x) == 2 else self.layer(x.reshape(1, 64))


class NoOnnx(nn.Module):
    """It holds an operation that ONNX does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.special.i1e(x.flatten(1)))


def test_the_command_writes_a_file_that_says_what_it_is(cli, net: Path) -> None:
    small = net.with_name("net.prune.shrink.safetensors")
    assert cli("export", small.name) == "net.prune.shrink.onnx\n"
    written = small.with_name("net.prune.shrink.onnx")
    told, checkpoint = metadata(written), read(small)
    assert (told["input"], told["output"], told["model"]) == ("input", "logits", "lenet300")
    assert json.loads(told["names"]) == [str(i) for i in range(10)]
    assert json.loads(told["mean"]) == list(checkpoint.preprocessing.mean)
    assert json.loads(told["resize"]) == {"size": 28, "crop": 1.0, "interpolation": "bilinear"}
    assert 0.98 <= float(told["weight_sparsity"]) < 1
    assert [entry["command"] for entry in json.loads(told["history"])] == ["train", "prune", "shrink"]
    assert told["sha256"] == sha256(small)
    model = onnx.load(written)
    onnx.checker.check_model(model, full_check=True)
    assert str(Path(__file__).parent.parent.parent).encode() not in written.read_bytes()
    (given,), (returned,) = model.graph.input, model.graph.output
    assert (given.name, returned.name) == ("input", "logits")
    assert [value.type.tensor_type.shape.dim[0].dim_param for value in (given, returned)] == ["batch", "batch"]


def test_pixels_and_softmax_are_inside(cli, net: Path, exported: Callable[[str], Path]) -> None:
    exported("app")
    cli("export", net.name, "-o", "app.pt2", "--pixels", "--softmax")
    pixels = torch.randint(256, (5, 1, 28, 28), dtype=torch.uint8)
    checkpoint = read(net)
    with torch.no_grad():
        expected = checkpoint.model.eval()(checkpoint.preprocessing(pixels)).softmax(1)
        program = torch.export.load(net.with_name("app.pt2")).module()(pixels / 255)
    found = outputs(net.with_name("app.onnx"), pixels / 255)
    assert relative(found, expected) < 1e-5
    assert relative(program, expected) < 1e-5
    assert torch.allclose(found.sum(1), torch.ones(5))
    told = metadata(net.with_name("app.onnx"))
    assert (told["input"], told["output"]) == ("pixels", "probabilities")
    extra = {"prunectl.json": ""}
    torch.export.load(net.with_name("app.pt2"), extra_files=extra)
    assert json.loads(extra["prunectl.json"]) == told


@pytest.mark.long
def test_float16_is_inside_and_close(cli, net: Path) -> None:
    cli("export", net.name, "-o", "whole.onnx")
    cli("export", net.name, "-o", "half.onnx", "--fp16")
    whole, half = (net.with_name(f"{name}.onnx") for name in ("whole", "half"))
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    images = torch.randn(6, 1, 28, 28)
    found = outputs(half, images)
    assert found.dtype == torch.float32
    assert relative(found, load(net)(images).detach()) < 1e-2


@pytest.mark.long
def test_int8_is_calibrated_and_both_accuracies_are_shown(raw, net: Path) -> None:
    ran = raw("export", net.name, "-o", "small.onnx", "--int8", "--softmax", "--json")
    assert ran.code == 0, ran.err
    record = json.loads(ran.out)
    measured = json.loads(raw("eval", net.name, "--no-latency", "--json").out)["accuracy"]
    assert record["accuracy"]["float32"] == pytest.approx(measured)
    assert abs(record["accuracy"]["int8"] - measured) < 0.03
    assert record["difference"] is None
    assert "int8: accuracy " in ran.err and " in float32 " in ran.err
    assert " than float32 for one image, in ONNX Runtime on this CPU" in ran.err
    assert record["speed"] > 0
    probabilities = outputs(net.with_name("small.onnx"), torch.randn(6, 1, 28, 28))
    assert torch.allclose(probabilities.sum(1), torch.ones(6))
    model = onnx.load(net.with_name("small.onnx"))
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in model.graph.node}
    assert np.int8 in {onnx.numpy_helper.to_array(tensor).dtype.type for tensor in model.graph.initializer}
    assert metadata(net.with_name("small.onnx"))["model"] == "lenet300"


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_a_network_for_one_batch_size_is_refused(suffix: str, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(FixedBatch(), SHAPE)
    with pytest.raises(StructureError, match="cannot be exported for batches of any size"):
        export(checkpoint, tmp_path / f"x.{suffix}")
    assert listing(tmp_path) == {}


@pytest.mark.long
def test_an_operation_that_onnx_lacks_is_one_line(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(NoOnnx(), SHAPE)
    with pytest.raises(StructureError, match=r"cannot be exported to ONNX \(.*\); export NAME.pt2") as raised:
        export(checkpoint, tmp_path / "x.onnx")
    assert "\n" not in str(raised.value)
    assert listing(tmp_path) == {}
    assert export(checkpoint, tmp_path / "x.pt2").difference == 0.0


def test_a_file_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(programs.Session):
        def __call__(self, images: Tensor) -> Tensor:
            return super().__call__(images) * 1.001

    monkeypatch.setattr(programs, "Session", Wrong)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(ProofError, match=r"the onnx file differs from the network by 0.001"):
        export(
            from_module(module, SHAPE, preprocessing=checkpoint_of(module, SHAPE).preprocessing), tmp_path / "x.onnx"
        )
    assert listing(tmp_path) == {}


@pytest.mark.long
def test_the_module_that_comes_in_is_not_changed(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3)).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    export(checkpoint_of(module, SHAPE), tmp_path / "x.onnx", fuse=True)
    assert module.training and module[1].training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_a_missing_package_is_named_with_the_command_that_installs_it(refused, net: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install 'prunectl[onnx]'" in refused("export", net.name, "-o", "x.onnx")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "x.safetensors"], "expected NAME.onnx, NAME.pt2, NAME.py or FOLDER/, got x.safetensors"),
        (["-o", "x.pt2", "--fp16"], "--fp16 is for NAME.onnx"),
        (["-o", "x.py", "--pixels"], "--pixels is for NAME.onnx and NAME.pt2"),
        (["-o", "folder/", "--fuse"], "--fuse is for NAME.onnx and NAME.pt2"),
        (["-o", "x.onnx", "--fp16", "--int8"], "--fp16 and --int8 exclude each other"),
        (["-o", "nowhere/x.onnx"], "no folder"),
        (["-o", "net.log.jsonl"], "expected NAME.onnx"),
    ],
)
def test_what_does_not_go_together_is_one_line(refused, net: Path, arguments: list[str], said: str) -> None:
    assert said in refused("export", net.name, *arguments)


def test_a_network_that_names_float32_is_refused_in_float16(tmp_path: Path) -> None:
    class Named(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.float())

    checkpoint = checkpoint_of(Named(nn.Flatten(), nn.Linear(64, 3)), SHAPE)
    with pytest.raises(StructureError, match=r"does not run in float16: .*; leave out `fp16`"):
        export(checkpoint, tmp_path / "x.onnx", fp16=True)
    assert listing(tmp_path) == {}


def test_nothing_to_fuse_is_one_line(refused, tiny: Path) -> None:
    said = refused("export", tiny.name, "-o", "x.onnx", "--fuse")
    assert "no BatchNorm right after a convolution or linear layer; leave out --fuse" in said


@pytest.mark.parametrize("output", ["x.onnx", "x.pt2", "x.py"])
def test_nothing_is_replaced_without_force(refused, net: Path, output: str) -> None:
    net.with_name(output).write_text("mine")
    assert f"{output} exists" in refused("export", net.name, "-o", output)


@pytest.mark.long
def test_int8_in_python_takes_a_dataset_that_fits(net: Path) -> None:
    with pytest.raises(OptionError, match=r"`int8` takes a dataset's name, such as imagefolder:photos.* got bool"):
        export(net, net.with_name("x.onnx"), int8=True)
    assert export(net, net.with_name("y.onnx"), int8="digits").accuracy.keys() == {"float32", "int8"}
    with pytest.raises(DataError, match="takes 1x28x28 images of 10 classes"):
        export(net, net.with_name("x.onnx"), int8=image_data())


def normed() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


PAIRS = [
    *((kind, pair) for kind in ("onnx", "pt2") for pair in combinations(("pixels", "softmax", "fuse"), 2)),
    *(("onnx", (one, small)) for one in ("pixels", "softmax", "fuse") for small in ("fp16", "int8")),
]


@pytest.mark.filterwarnings("ignore:Please consider to run pre-processing:UserWarning")
@pytest.mark.parametrize(("kind", "pair"), quick_rows(PAIRS, [4]))
def test_options_go_together(kind: str, pair: tuple[str, ...], tmp_path: Path) -> None:
    torch.manual_seed(0)
    checkpoint = checkpoint_of(normed(), SHAPE)
    asked = {name: image_data() if name == "int8" else True for name in pair}
    made = export(checkpoint, tmp_path / f"net.{kind}", **asked)
    assert made.path.exists()
    assert (made.fused == 1) == ("fuse" in pair)


def test_a_file_whose_probabilities_hide_other_logits_is_found() -> None:
    """Of a network that is sure of itself: its probabilities differ by less than 1e-5, its logits by a third."""

    def network(images: Tensor, factor: float = 1.0) -> Tensor:
        return (factor * torch.tensor([0.0, 20.0, -20.0])).expand(len(images), 3).softmax(1)

    found = worst_difference(
        programs._logarithms(network),
        programs._logarithms(lambda images: network(images, 1.3)),
        SHAPE,
        lambda size, generator: torch.zeros(size),
    )
    assert (network(torch.zeros(1)) - network(torch.zeros(1), 1.3)).abs().max() < 1e-5
    assert found > 0.1


@pytest.mark.parametrize("command", ["inspect", "log", "shrink"])
def test_commands_for_checkpoints_say_what_takes_an_onnx_file(command: str, refused, exported, net: Path) -> None:
    exported("net")
    assert "net.onnx is an ONNX file; only eval and predict take" in refused(command, "net.onnx")
