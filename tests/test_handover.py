"""A shrunk network leaves the house: as a file that a fresh process reads without pickle, and as ONNX."""

import io
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
import torch

from prunectl.checkpoint import Checkpoint, build, read, write
from prunectl.header import DenseCounts, ModelSpec
from prunectl.images import Preprocessing
from prunectl.masks import Masks
from prunectl.measure import cost
from prunectl.prune import prune
from prunectl.shrink import shrink
from prunectl.structure.count import count_nodes
from tests.randomise import randomise_

NETWORKS = {
    "torchvision/resnet18": ({}, "modules"),
    "torchvision/vgg11_bn": ({}, "modules"),
    "torchvision/densenet121": ({}, "modules"),
    "torchvision/convnext_tiny": ({}, "modules"),
    "torchvision/vit_b_32": ({}, "modules"),
    "torchvision/swin_t": ({}, "graph"),
    "timm/vit_tiny_patch16_224": ({"depth": 2}, "graph"),
    "timm/test_efficientnet": ({}, "modules"),
}
ONNX = {"resnet18", "vgg11_bn", "densenet121", "convnext_tiny", "vit_b_32"}
SHAPE = (3, 64, 64)
WITHOUT_PICKLE = """
import sys
def refuse(event, arguments):
    if event.startswith("pickle."):
        raise RuntimeError(f"pickle was used: {arguments}")
import torch, prunectl, prunectl.checkpoint
sys.addaudithook(refuse)
model = prunectl.load(sys.argv[1])
images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    print(*model(images).flatten().tolist())
"""


def shrunk(name: str) -> Checkpoint:
    """A network with random values everywhere, half of whose nodes are gone."""
    options, _ = NETWORKS[name]
    spec = ModelSpec(name, SHAPE, 10, options)
    torch.manual_seed(0)
    model = randomise_(build(spec), 0, SHAPE)
    counted = cost(model, Masks.dense(), SHAPE)
    dense = DenseCounts(counted.parameters, counted.weights, count_nodes(model, SHAPE), counted.flops)
    start = Checkpoint(model, Masks.dense(), spec, "test", Preprocessing((0.5,) * 3, (0.25,) * 3), dense)
    return shrink(prune(start, None, criterion="structured-random", sparsity=0.5))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_shrunk_file_is_read_in_a_fresh_process_without_pickle(name: str, tmp_path: Path) -> None:
    small = shrunk(name)
    assert small.history[-1]["result"]["runs"] == NETWORKS[name][1]
    assert small.history[-1]["result"]["parameters"] < 0.55 * small.dense.parameters
    path = tmp_path / "small.safetensors"
    write(small, path)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PICKLE, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = torch.tensor([float(text) for text in done.stdout.split()]).view(3, 10)
    images = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = small.model.eval()(images)
    assert torch.allclose(found, expected, atol=1e-4, rtol=1e-4)
    again = read(path)
    assert again.edits == small.edits
    if name.rpartition("/")[2] in ONNX:
        assert_onnx_equals(again.model.eval(), images, expected)
    assert again.model.train()(images).shape == (3, 10)


def assert_onnx_equals(model: torch.nn.Module, images: torch.Tensor, expected: torch.Tensor) -> None:
    file = io.BytesIO()
    program = torch.onnx.export(model, (images,), dynamo=True, verbose=False)
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue())
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert torch.allclose(torch.from_numpy(found), expected, atol=1e-4 * float(expected.abs().max()))
