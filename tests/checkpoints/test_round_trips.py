"""What is written comes back."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

import prunectl
from prunectl.checkpoints import files
from prunectl.checkpoints.checkpoint import read, write
from prunectl.checkpoints.header import ModelSpec, read_header, read_toc
from prunectl.checkpoints.names import mask_path
from prunectl.data.load import load_data
from prunectl.masks import Masks
from prunectl.models.fresh import fresh
from prunectl.plugins.registry import TABLES
from prunectl.structure.surgery.plan import Plan
from tests.helpers.checkpoint_parts import HISTORY, random_masks, refusal, same
from tests.helpers.networks import checkpoint_of
from tests.helpers.own_tensors import Centred


def test_a_dense_checkpoint_comes_back(written, dense):
    path = written / "dense.safetensors"
    back = read(path)
    assert same(back.model.state_dict(), dense.model.state_dict())
    assert dict(back.masks) == {}
    assert back.history == HISTORY
    assert (back.spec, back.data, back.preprocessing) == (dense.spec, "digits", dense.preprocessing)
    assert (back.dense, back.edits) == (dense.dense, ())
    assert back.spec == ModelSpec("mlp5", (1, 8, 8), 10, {"hidden": 8})
    assert back.sha256 == files.sha256(path)
    assert not mask_path(path).exists()


def test_a_masked_checkpoint_comes_back(written, masked):
    back = read(written / "masked.safetensors")
    assert same(dict(back.masks), dict(masked.masks))
    expected = {name: tensor.clone() for name, tensor in masked.model.state_dict().items()}
    for name, mask in masked.masks.items():
        expected[name][~mask] = 0
    assert same(back.model.state_dict(), expected)
    assert back.history == HISTORY
    assert back.masks.kept(back.model) == read_header(written / "masked.safetensors")[0].weights


def test_the_checkpoint_that_is_written_is_not_changed(dense, tmp_path):
    before = {name: tensor.clone() for name, tensor in dense.model.state_dict().items()}
    write(replace(dense, masks=random_masks(dense.model)), tmp_path / "x.safetensors")
    assert same(dense.model.state_dict(), before)


def test_a_reader_without_prunectl_gets_the_pruned_network(written, masked):
    state = load_file(written / "masked.safetensors")
    assert state.keys() == masked.model.state_dict().keys()
    for name, mask in masked.masks.items():
        assert (state[name][~mask] == 0).all()
        assert torch.equal(state[name][mask], masked.model.state_dict()[name][mask])


def test_the_same_checkpoint_gives_the_same_bytes(written, dense, masked, tmp_path):
    for name, checkpoint in (("dense", dense), ("masked", masked)):
        write(checkpoint, tmp_path / f"{name}.safetensors")
        write(read(tmp_path / f"{name}.safetensors"), tmp_path / f"{name}.safetensors")
    assert len(list(tmp_path.iterdir())) == 3
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (written / path.name).read_bytes()


def test_masks_go_with_a_dense_successor(folder, dense):
    write(dense, folder / "masked.safetensors")
    assert not (folder / "masked.mask.safetensors").exists()
    assert dict(read(folder / "masked.safetensors").masks) == {}


def test_a_mask_may_cover_any_parameter(dense, tmp_path):
    masks = Masks({"features.1.bias": torch.arange(8) > 2, "features.2.weight": torch.arange(8) > 2})
    write(replace(dense, masks=masks), tmp_path / "x.st")
    back = read(tmp_path / "x.st")
    assert same(dict(back.masks), dict(masks))
    assert back.model.features[2].weight[:3].tolist() == [0, 0, 0]
    assert back.masks.kept(back.model) == dense.dense.weights


def test_masks_that_differ_where_weights_are_zero_have_different_ids(dense, tmp_path):
    assert not dense.model.features[1].bias.any()
    for name, kept in (("x", 2), ("y", 3)):
        masks = Masks({"features.1.bias": torch.arange(8) < kept})
        write(replace(dense, masks=masks), tmp_path / f"{name}.safetensors")
    (tmp_path / "y.mask.safetensors").replace(tmp_path / "x.mask.safetensors")
    assert "belongs to other weights" in refusal(tmp_path / "x.safetensors")


def test_what_the_masks_prune_is_zero_whatever_the_file_says(folder, dense, masked):
    path = folder / "masked.safetensors"
    path.write_bytes(save(dict(dense.model.state_dict()), {"prunectl": read_toc(path).metadata["prunectl"]}))
    state = read(path).model.state_dict()
    for name, mask in masked.masks.items():
        assert not state[name][~mask].any()


def test_a_mask_that_waits_for_its_name_since_a_kill_is_found(folder, masked):
    path = folder / "masked.safetensors"
    pair = read_header(path)[0].pair
    place = mask_path(path)
    place.rename(files.pending_sidecar(place, pair))
    assert same(dict(read(path).masks), dict(masked.masks))
    write(replace(masked, masks=random_masks(masked.model, seed=1)), folder / "other.safetensors")
    (folder / "other.mask.safetensors").rename(place)  # of the file before, which the kill left in place
    assert same(dict(read(path).masks), dict(masked.masks))


def test_a_network_of_the_users_own_file_comes_back(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    code = tmp_path / "mine.py"
    code.write_text(
        "from torch import nn\n"
        "def net(shape, classes, *, width: int = 3):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, classes))\n"
    )
    made = fresh(f"{code}:net", load_data("digits", image_size=8), source="digits", options={"width": "2"})
    write(made, tmp_path / "x.safetensors")
    back = read(tmp_path / "x.safetensors")
    assert back.model[1].out_features == 2
    assert same(back.model.state_dict(), made.model.state_dict())


def test_shrunk_shapes_load_and_modules_take_their_width(folder, dense):
    alive = torch.tensor([0, 1, 3, 4, 7])
    state = dense.model.state_dict()
    small = {name: t for name, t in state.items() if not name.startswith(("features.1.", "features.2."))}
    for name, tensor in state.items():
        if name.startswith(("features.1.", "features.2.")):
            small[name] = tensor[alive] if tensor.ndim else tensor
    small["classifier.1.weight"] = state["classifier.1.weight"][:, alive]
    kept = {(name, 0): alive for name, t in state.items() if name.startswith(("features.1.", "features.2.")) and t.ndim}
    plan = Plan({**kept, ("classifier.1.weight", 1): alive})
    path = folder / "dense.safetensors"
    head = {**json.loads(read_toc(path).metadata["prunectl"]), "edits": plan.to_edits()}
    head["history"][-1]["result"] = {"nodes": 29}
    path.write_bytes(save({name: t.contiguous() for name, t in small.items()}, {"prunectl": json.dumps(head)}))

    model = read(path).model.eval()
    assert (model.features[1].in_features, model.features[1].out_features) == (64, 5)
    assert model.features[2].num_features == 5
    assert (model.classifier[1].in_features, model.classifier[1].out_features) == (5, 8)
    assert same(model.state_dict(), small)
    assert all(parameter.requires_grad for parameter in model.parameters())

    inputs = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = prunectl.load(folder / "masked.safetensors")
    whole.load_state_dict(state)
    gone = torch.tensor([2, 5, 6])
    with torch.no_grad():
        whole.classifier[1].weight[:, gone] = 0
    assert torch.allclose(model(inputs), whole(inputs), atol=1e-6)


def test_edits_are_applied(dense, tmp_path):
    edits = ({"module": "features.0", "attribute": "start_dim", "value": 0},)
    write(replace(dense, edits=edits), tmp_path / "x.safetensors")
    back = read(tmp_path / "x.safetensors")
    assert back.edits == edits
    assert back.model.features[0].start_dim == 0
    assert dense.model.features[0].start_dim == 1


def test_load_is_in_eval_mode_and_computes_the_same(written, dense):
    inputs = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    mode = dense.model.training
    expected = dense.model.eval()(inputs)
    dense.model.train(mode)
    for path in (written / "dense.safetensors", str(written / "dense.safetensors")):
        model = prunectl.load(path)
        assert not any(module.training for module in model.modules())
        assert torch.equal(model(inputs), expected)


def test_a_name_that_the_package_does_not_offer():
    with pytest.raises(AttributeError, match="module 'prunectl' has no attribute 'write'"):
        _ = prunectl.write


def test_what_must_start_fast_does_not_import_torch():
    code = (
        "import sys, prunectl\n"
        "from prunectl import errors\nfrom prunectl.reporting import rows, formats, curves\n"
        "from prunectl.checkpoints import files, header, inspect\n"
        "from prunectl.plugins import registry\n"
        "heavy = {'torch', 'numpy', 'safetensors', 'foolbox'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


OWN = """
import torch
from torch import nn

class Own(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.one = nn.Linear(4, 4, bias=False)
        self.two = nn.Linear(4, 4, bias=False)
        self.two.weight = self.one.weight
        self.head = nn.Linear(4, classes)
        self.register_buffer("scale", torch.full((4,), 3.0), persistent=False)

    def forward(self, x):
        return self.head(self.two(self.one(x.flatten(1) * self.scale)))

def own(shape, classes):
    return Own(classes)
"""


def test_tied_weights_stay_tied_and_buffers_without_a_file_are_built(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    Path("own.py").write_text(OWN)
    made = fresh("own.py:own", load_data("synthetic", image_size=2), source="synthetic")
    assert made.dense.weights == 16 + 40
    write(made, Path("x.safetensors"))
    back = read(Path("x.safetensors")).model
    assert back.two.weight is back.one.weight
    assert back.scale.tolist() == [3.0] * 4
    images = torch.rand(2, 1, 2, 2)
    assert torch.equal(back(images), made.model(images))


def test_two_checkpoints_that_differ_in_suffix_alone_keep_their_masks(folder):
    masked = read(folder / "masked.safetensors")
    write(masked, folder / "masked.st")
    assert read(folder / "masked.safetensors").masks.keys() == read(folder / "masked.st").masks.keys()


def test_a_tensor_that_no_file_holds_is_there_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    model, path = Centred((2, 4, 4), 3), tmp_path / "x.safetensors"
    spec = ModelSpec("tests.helpers.own_tensors:Centred", (2, 4, 4), 3)
    write(replace(checkpoint_of(model, (2, 4, 4)), spec=spec), path)
    images = torch.randn(5, 2, 4, 4)
    assert torch.equal(read(path).model(images), model(images))


def test_buffers_may_be_infinite_and_of_another_shape(tmp_path, monkeypatch):
    monkeypatch.setitem(TABLES["model"], "own", "tests.helpers.own_tensors:own")
    begun = fresh("own", load_data("digits", image_size=8), source="digits")
    begun.model.pos = torch.ones(1, 64)
    write(begun, tmp_path / "own.safetensors")
    assert same(read(tmp_path / "own.safetensors").model.state_dict(), begun.model.state_dict())
