"""Every kind of file is loaded where prunectl cannot be imported, and computes what the checkpoint computes."""

import shutil
from pathlib import Path

import pytest
import torch

from prunectl.checkpoints.checkpoint import load, write
from prunectl.errors import StructureError
from prunectl.exchange.export import export
from prunectl.exchange.loader_py import MOST_LINES
from tests.helpers.alone import images, outputs_alone, relative
from tests.helpers.random_checkpoints import dense_checkpoint, shrunk_checkpoint

EARLIER = Path(__file__).parent.parent / "checkpoints" / "earlier"
OWN = ("dense", "masked", "modules", "swapped", "graph")
"""Networks of a file of the user's own: how each of them runs."""
KINDS = ("x_{}.onnx", "x_{}.pt2", "x_{}.py", "folder-{}/")
"""Names of what is written for each of them."""
NO_LOADER = {"swapped": "prunectl's layer_norm in norm", "graph": "a rewritten graph"}
LIBRARIES = {
    "whole": ("timm/test_efficientnet", (1, 32, 32)),
    "depthwise": ("timm/test_efficientnet", (1, 32, 32)),
    "torchvision": ("torchvision/squeezenet1_1", (3, 32, 32)),
    "transformer": ("timm/test_vit", (3, 64, 64)),
}
"""Networks of libraries, all but the first shrunk; the last one runs a rewritten graph."""
ALONE_TOO = {"torchvision": (".onnx", ".pt2")}
"""What else is written of some of them."""


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with the networks of `OWN`, whose code is trusted."""
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    for file in [EARLIER / "networks.py", *(f for name in OWN for f in EARLIER.glob(f"{name}.*safetensors"))]:
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("names", "kinds", "files"),
    [(("masked",), KINDS[2:3], 1), pytest.param(OWN, KINDS, 18, marks=pytest.mark.long)],
    ids=["loader", "all"],
)
def test_networks_of_an_own_file(names: tuple[str, ...], kinds: tuple[str, ...], files: int, trusting: Path) -> None:
    written: list[tuple[str, Path]] = []
    for name in names:
        for output in (kind.format(name) for kind in kinds):
            if output.endswith(".py") and name in NO_LOADER:
                with pytest.raises(StructureError, match=f"the network runs {NO_LOADER[name]}, .* export NAME.onnx"):
                    export(f"{name}.safetensors", output)
                assert not list(trusting.glob(f"x_{name}.py")) + list(trusting.glob(f"x_{name}.safetensors"))
            else:
                made = export(f"{name}.safetensors", output)
                assert made.difference is not None and made.difference < 1e-5
                written.append((name, trusting / output))
    assert len(written) == files
    found = outputs_alone([(path, (1, 8, 8)) for _, path in written])
    for (name, path), outputs in zip(written, found, strict=True):
        expected = load(f"{name}.safetensors")(images((1, 8, 8))).detach()
        assert relative(outputs, expected) < 1e-5, path
    for path in trusting.glob("x_*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.long
def test_networks_of_libraries(tmp_path: Path) -> None:
    written: list[tuple[Path, tuple[int, int, int]]] = []
    expected: list[torch.Tensor] = []
    for key, (name, shape) in LIBRARIES.items():
        checkpoint = dense_checkpoint(name, shape) if key == "whole" else shrunk_checkpoint(name, shape)
        assert any("attribute" in edit for edit in checkpoint.edits) == (key == "depthwise")
        source = tmp_path / f"{key}.safetensors"
        write(checkpoint, source)
        outputs = [tmp_path / f"folder_{key}", *([] if key == "transformer" else [tmp_path / f"loader_{key}.py"])]
        outputs += [tmp_path / f"{key}{end}" for end in ALONE_TOO.get(key, ())]
        for output in outputs:
            export(source, output)
            written.append((output, shape))
            with torch.no_grad():
                expected.append(checkpoint.model.eval()(images(shape)))
    for (path, _), found, wanted in zip(written, outputs_alone(written), expected, strict=True):
        assert relative(found, wanted) < 1e-5, path
    for path in tmp_path.glob("loader_*.py"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= MOST_LINES and "import prunectl" not in text
    assert (tmp_path / "folder_transformer" / "model.pt2").exists()
