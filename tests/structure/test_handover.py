"""A shrunk network leaves the house: as a file that a fresh process reads without pickle, and as ONNX."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import pytest
import torch

from prunectl.checkpoints.build import build
from prunectl.checkpoints.checkpoint import Checkpoint, read, write
from prunectl.checkpoints.header import DenseCounts, ModelSpec
from prunectl.data.images import Preprocessing
from prunectl.masks import Masks
from prunectl.measuring.cost import cost
from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from prunectl.structure.count import count_nodes
from tests.helpers.randomise import randomise_
from tests.helpers.shallow import SHAPE

FAMILIES = {
    family: ("tests.helpers.shallow:built", {"name": family})
    for family in ("vgg", "densenet", "convnext", "vision_transformer", "swin_transformer")
}
LIBRARIES = {
    "torchvision/resnet18": ("torchvision/resnet18", {}),
    "timm/test_efficientnet": ("timm/test_efficientnet", {}),
}
WHOLE = {
    **{
        f"torchvision/{name}": (f"torchvision/{name}", {})
        for name in ("vgg11_bn", "densenet121", "convnext_tiny", "vit_b_32", "swin_t")
    },
    "timm/vit_tiny_patch16_224": ("timm/vit_tiny_patch16_224", {"depth": 2}),
}
"""What is like one of the families, with all its layers or from another library."""
NETWORKS = {**FAMILIES, **LIBRARIES, **WHOLE}
QUICK = ("vgg",)
OTHERS = tuple(name for name in (*FAMILIES, *LIBRARIES) if name not in QUICK)
GRAPHS = {"swin_transformer", "torchvision/swin_t", "timm/vit_tiny_patch16_224"}
"""Those that cannot run what is left by their own modules."""
ROOT = Path(__file__).parent.parent.parent
WITHOUT_PICKLE = """
import json, sys
def refuse(event, arguments):
    if event.startswith("pickle."):
        raise RuntimeError(f"pickle was used: {arguments}")
import torch, prunectl, prunectl.checkpoints.checkpoint
sys.addaudithook(refuse)
images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
for path in sys.argv[1:]:
    model = prunectl.load(path)
    with torch.no_grad():
        print(json.dumps(model(images).tolist()))
"""


@dataclass(frozen=True, eq=False)
class Handed:
    """A network, its file, and what a fresh process got from that for `images()`."""

    small: Checkpoint
    path: Path
    found: torch.Tensor


def images() -> torch.Tensor:
    return torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))


def shrunk(name: str) -> Checkpoint:
    """A network with random values everywhere, half of whose nodes are gone."""
    spec = ModelSpec(NETWORKS[name][0], SHAPE, 10, NETWORKS[name][1])
    torch.manual_seed(0)
    model = randomise_(build(spec), 0, SHAPE)
    counted = cost(model, Masks.dense(), SHAPE)
    dense = DenseCounts(counted.parameters, counted.weights, count_nodes(model, SHAPE), counted.flops)
    start = Checkpoint(model, Masks.dense(), spec, "test", Preprocessing((0.5,) * 3, (0.25,) * 3), dense)
    return shrink(prune(start, None, criterion="structured-random", sparsity=0.5))


def handed_over(names: Iterable[str], folder: Path) -> dict[str, Handed]:
    """Write shrunk networks; one fresh process, which takes seconds to import torch, reads them all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNECTL_TRUST", "1")
        small = {name: shrunk(name) for name in names}
        paths = {name: folder / f"{i}.safetensors" for i, name in enumerate(small)}
        for name, path in paths.items():
            write(small[name], path)
        command = [sys.executable, "-c", WITHOUT_PICKLE, *map(str, paths.values())]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ)
    assert done.returncode == 0, done.stderr
    lines = zip(paths.items(), done.stdout.splitlines(), strict=True)
    return {name: Handed(small[name], path, torch.tensor(json.loads(line))) for (name, path), line in lines}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Handed]:
    return handed_over(QUICK, tmp_path_factory.mktemp("quick"))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Handed]:
    return handed_over(OTHERS, tmp_path_factory.mktemp("others"))


@pytest.mark.parametrize("name", QUICK)
def test_a_shrunk_file_is_read_in_a_fresh_process_without_pickle(
    name: str, quick: dict[str, Handed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    assert_handed_over(name, quick[name])


@pytest.mark.long
@pytest.mark.parametrize("name", OTHERS)
def test_other_shrunk_files_are_read_in_a_fresh_process_without_pickle(
    name: str, others: dict[str, Handed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    assert_handed_over(name, others[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_network_is_read_in_a_fresh_process_without_pickle(name: str, tmp_path: Path) -> None:
    assert_handed_over(name, handed_over([name], tmp_path)[name])


def assert_handed_over(name: str, handed: Handed) -> None:
    small = handed.small
    assert small.history[-1].result["runs"] == ("graph" if name in GRAPHS else "modules")
    assert small.history[-1].result["parameters"] < 0.55 * small.dense.parameters
    with torch.no_grad():
        expected = small.model.eval()(images())
    assert torch.allclose(handed.found, expected, atol=1e-4, rtol=1e-4)
    again = read(handed.path)
    assert again.edits == small.edits
    assert_onnx_equals(again.model.eval(), images(), expected)
    assert again.model.train()(images()).shape == (3, 10)


def assert_onnx_equals(model: torch.nn.Module, images: torch.Tensor, expected: torch.Tensor) -> None:
    file = io.BytesIO()
    program = torch.onnx.export(model, (images,), dynamo=True, verbose=False)
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue())
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert torch.allclose(torch.from_numpy(found), expected, atol=1e-4 * float(expected.abs().max()))
