"""Checkpoints: what is written comes back, what is damaged is one line."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

import prunectl
from prunectl import files, header
from prunectl.checkpoint import Checkpoint, read, write
from prunectl.data import load_data
from prunectl.errors import CheckpointError, FileError, OptionError, PrunectlError, UnknownName
from prunectl.fresh import fresh
from prunectl.header import ModelSpec, base_name, beside, mask_path, read_header, read_toc
from prunectl.masks import Masks, pack, prunable

JSON = dict[str, Any]
HISTORY: tuple[JSON, ...] = (
    {"command": "train", "options": {"epochs": 2, "lr": 0.1}, "parent": None},
    {"command": "prune", "options": {"data": "één 'x'\n"}, "parent": "ab", "result": {"accuracy": 0.5}},
)


def random_masks(model: nn.Module, seed: int = 0) -> Masks:
    generator = torch.Generator().manual_seed(seed)
    return Masks({name: torch.rand(w.shape, generator=generator) < 0.5 for name, w in prunable(model).items()})


@pytest.fixture(scope="module")
def dense() -> Checkpoint:
    """MLP5 with four hidden layers of 8 neurons, for 8x8 digits; every statistic differs from what it begins with."""
    made = fresh("mlp5", load_data("digits", image_size=8), source="digits", options={"hidden": "8"})
    with torch.no_grad():
        made.model(torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    return replace(made, history=HISTORY)


@pytest.fixture(scope="module")
def masked(dense: Checkpoint) -> Checkpoint:
    return replace(dense, masks=random_masks(dense.model))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, dense: Checkpoint, masked: Checkpoint) -> Path:
    """A folder with dense.safetensors, masked.safetensors and masked.mask.safetensors."""
    folder = tmp_path_factory.mktemp("written")
    write(dense, folder / "dense.safetensors")
    write(masked, folder / "masked.safetensors")
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of it, to damage."""
    for path in written.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def parts(data: bytes) -> tuple[JSON, bytes]:
    """The JSON header of a safetensors file, the text of our own header read too, and its tensors' bytes."""
    end = 8 + struct.unpack("<Q", data[:8])[0]
    entries = json.loads(data[8:end])
    entries["__metadata__"]["prunectl"] = json.loads(entries["__metadata__"]["prunectl"])
    return entries, data[end:]


def joined(entries: JSON, tensors: bytes) -> bytes:
    metadata = entries.get("__metadata__")
    if isinstance(metadata, dict) and not isinstance(metadata.get("prunectl", ""), str):
        metadata = {**metadata, "prunectl": json.dumps(metadata["prunectl"])}
    text = json.dumps({**entries, "__metadata__": metadata}).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def change(path: Path, edit: Callable[[JSON], object]) -> None:
    """Edit our own header in a file."""
    entries, tensors = parts(path.read_bytes())
    edit(entries["__metadata__"]["prunectl"])
    path.write_bytes(joined(entries, tensors))


def refusal(path: Path, kind: type[PrunectlError] = CheckpointError) -> str:
    """The one line that a file is refused with."""
    with pytest.raises(kind) as error:
        read(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


# --- round trips


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
    path = folder / "dense.safetensors"
    text = read_toc(path).metadata["prunectl"]
    path.write_bytes(save({name: t.contiguous() for name, t in small.items()}, {"prunectl": text}))

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
    edits = ({"module": "features.3", "attribute": "negative_slope", "value": 0.25},)
    write(replace(dense, edits=edits), tmp_path / "x.safetensors")
    back = read(tmp_path / "x.safetensors")
    assert back.edits == edits
    assert back.model.features[3].negative_slope == 0.25
    assert dense.model.features[3].negative_slope == 0.05


def test_load_is_in_eval_mode_and_computes_the_same(written, dense):
    inputs = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    mode = dense.model.training
    expected = dense.model.eval()(inputs)
    dense.model.train(mode)
    for path in (written / "dense.safetensors", str(written / "dense.safetensors")):
        model = prunectl.load(path)
        assert not any(module.training for module in model.modules())
        assert torch.equal(model(inputs), expected)


def test_only_load_is_offered_by_the_package():
    with pytest.raises(AttributeError, match="module 'prunectl' has no attribute 'save'"):
        _ = prunectl.save


def test_what_must_start_fast_does_not_import_torch():
    code = (
        "import sys, prunectl\n"
        "from prunectl import errors, files, header, inspect, registry, report\n"
        "heavy = {'torch', 'numpy', 'safetensors', 'foolbox'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


# --- names


@pytest.mark.parametrize(
    ("name", "base", "mask"),
    [
        ("x.safetensors", "x", "x.mask.safetensors"),
        ("x.st", "x", "x.mask.st"),
        ("x.prune.safetensors", "x.prune", "x.prune.mask.safetensors"),
        ("x", "x", "x.mask.safetensors"),
        ("x.pt", "x.pt", "x.pt.mask.safetensors"),
    ],
)
def test_names_beside_a_checkpoint(name, base, mask):
    path = Path("folder") / name
    assert base_name(path) == base
    assert mask_path(path) == Path("folder") / mask
    assert beside(path, ".results.jsonl") == Path("folder") / f"{base}.results.jsonl"


# --- the table of contents


def test_table_of_contents(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.tensor([1, 2, 3], dtype=torch.uint8)}, path, {"k": "v"})
    toc = read_toc(path)
    (dtype, shape, begin, end) = toc.tensors["a"]
    assert (dtype, shape, end - begin) == ("U8", (3,), 3)
    assert toc.bytes_of("a") == bytes([1, 2, 3])
    assert toc.metadata == {"k": "v"}
    assert toc.size == path.stat().st_size == end


@pytest.mark.parametrize(
    "entry",
    [
        5,
        {},
        {"dtype": "U8", "shape": [3]},
        {"dtype": 8, "shape": [3], "data_offsets": [0, 3]},
        {"dtype": "U8", "shape": 3, "data_offsets": [0, 3]},
        {"dtype": "U8", "shape": ["3"], "data_offsets": [0, 3]},
        {"dtype": "U8", "shape": [-3], "data_offsets": [0, 3]},
        {"dtype": "U8", "shape": [3], "data_offsets": [0.0, 3]},
        {"dtype": "U8", "shape": [3], "data_offsets": [-1, 3]},
        {"dtype": "U8", "shape": [3], "data_offsets": [0, 3, 3]},
        {"dtype": "U8", "shape": [3], "data_offsets": [4, 3]},
        {"dtype": "U8", "shape": [3], "data_offsets": [10**30, 3]},
        {"dtype": "U8", "shape": [3], "data_offsets": "03"},
    ],
)
def test_a_table_of_contents_that_makes_no_sense(tmp_path, entry):
    path = tmp_path / "x.safetensors"
    path.write_bytes(joined({"__metadata__": {}, "a": entry}, b"abc"))
    with pytest.raises(CheckpointError) as error:
        read_toc(path)
    assert str(error.value) == f"{path} is not a safetensors file: its header does not read"


def test_a_file_without_tensors(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(save({}))
    assert read_toc(path).tensors == {}


# --- files that are no checkpoint


def test_a_missing_file(tmp_path):
    path = tmp_path / "x.safetensors"
    assert refusal(path, FileError) == f"cannot read {path}: no such file or directory; check the path"


def test_a_folder(tmp_path):
    assert refusal(tmp_path, FileError) == f"{tmp_path} is a folder; give a checkpoint file (*.safetensors)"


def test_a_file_that_may_not_be_read(folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    path = folder / "dense.safetensors"
    assert refusal(path, FileError) == f"cannot read {path}: permission denied"


NO_HEADER = "has no 'prunectl' header: something else wrote it; make one with `prunectl train` or `prunectl prune`"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty; the step that should have written it failed"),
        (b"PK\x03", "is not a safetensors file, or was cut off in its header"),
        (b"x" * 100, "is not a safetensors file, or was cut off in its header"),
        (b"\xff" * 8, "is not a safetensors file, or was cut off in its header"),
        (bytes(100), "is not a safetensors file: its header does not read"),
        (struct.pack("<Q", 4) + b"nope", "is not a safetensors file: its header does not read"),
        (struct.pack("<Q", 2) + b"[]", "is not a safetensors file: its header does not read"),
        (struct.pack("<Q", 2) + b"{}", NO_HEADER),
        (save({"a": torch.ones(2)}), NO_HEADER),
        (save({"a": torch.ones(2)}, {"format": "pt"}), NO_HEADER),
        (joined({"__metadata__": 5}, b""), "is not a safetensors file: its header does not read"),
        (joined({"__metadata__": ["prunectl"]}, b""), "is not a safetensors file: its header does not read"),
        (joined({"__metadata__": {"prunectl": "{"}}, b""), None),
        (joined({"__metadata__": {"prunectl": '{"model"'}}, b""), None),
    ],
)
def test_what_is_no_checkpoint(tmp_path, data, message):
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    found = refusal(path)
    assert found.startswith(str(path))
    if message is not None:
        assert found == f"{path} {message}"


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_random_bytes_are_no_checkpoint(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "random.safetensors"
    path.write_bytes(data)
    assert str(path) in refusal(path)


@pytest.mark.parametrize("name", ["masked.mask.safetensors", "renamed.safetensors"])
def test_a_mask_file_is_no_checkpoint(folder, name):
    path = (folder / "masked.mask.safetensors").rename(folder / name)
    expected = f"{path} is a mask file; give the NAME.safetensors beside it"
    assert refusal(path) == expected


# --- damage


@pytest.mark.parametrize("name", ["dense", "masked"])
def test_a_checkpoint_cut_off_anywhere(folder, name):
    path = folder / f"{name}.safetensors"
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        assert str(path) in refusal(path)
        with pytest.raises(CheckpointError):  # seen without reading the tensors
            read_header(path)


def test_a_mask_file_cut_off_anywhere(folder):
    path = folder / "masked.safetensors"
    place = mask_path(path)
    for length in reversed(range(place.stat().st_size)):
        os.truncate(place, length)
        assert str(place) in refusal(path)


@pytest.mark.parametrize("name", ["masked.safetensors", "masked.mask.safetensors"])
def test_bytes_that_should_not_be_there(folder, name):
    path = folder / name
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"\0")
    expected = f"{path} is damaged: its header tells of {size} bytes, the file has {size + 1}; copy it anew"
    assert refusal(folder / "masked.safetensors") == expected


def test_a_missing_mask_file(folder):
    path = folder / "masked.safetensors"
    mask_path(path).unlink()
    expected = f"{path} is masked, but its mask file {mask_path(path)} is missing; copy both files together"
    assert refusal(path) == expected


def test_the_mask_file_of_other_weights(folder, masked):
    write(replace(masked, masks=random_masks(masked.model, seed=1)), folder / "other.safetensors")
    path = folder / "masked.safetensors"
    (folder / "other.mask.safetensors").replace(mask_path(path))
    assert (
        refusal(path) == f"{mask_path(path)} belongs to other weights than {path}; copy both files from the same place"
    )


def test_a_mask_file_of_another_program(folder):
    path = folder / "masked.safetensors"
    save_file({"a": torch.ones(2)}, mask_path(path))
    assert refusal(path).startswith(f"{mask_path(path)} is not a readable mask file")


def cut_bits(folder: Path, name: str, bits: Tensor) -> None:
    """Give the mask file other bits for one tensor, all else in order."""
    place = folder / "masked.mask.safetensors"
    text = read_toc(place).metadata["prunectl"]
    place.write_bytes(save({**load_file(place), name: bits}, {"prunectl": text}))


@pytest.mark.parametrize(
    "bits", [torch.ones(3, dtype=torch.uint8), torch.ones(()).byte(), torch.ones(8), torch.ones(0).byte()]
)
def test_masks_with_too_few_bits_or_of_another_kind(folder, bits):
    cut_bits(folder, "classifier.1.weight", bits)
    found = refusal(folder / "masked.safetensors")
    assert found.startswith(f"{folder / 'masked.mask.safetensors'} is not a readable mask file")


def test_a_mask_of_another_shape(folder):
    cut_bits(folder, "classifier.1.weight", pack(torch.ones(4, 4).bool()))
    change(folder / "masked.mask.safetensors", lambda head: head["shapes"].update({"classifier.1.weight": [4, 4]}))
    found = refusal(folder / "masked.safetensors")
    assert "the mask of classifier.1.weight has shape (4, 4), the network has (8, 8)" in found
    assert str(folder / "masked.safetensors") in found


def put(*keys: Any) -> Callable[[JSON], None]:
    """An edit that sets the value of a nested key: put("model", "name", "x")."""

    def edit(head: JSON) -> None:
        *path, last, value = keys
        for key in path:
            head = head[key]
        head[last] = value

    return edit


@pytest.mark.parametrize("schema", [0, 2, "1", None])
def test_another_schema(folder, schema):
    path = folder / "dense.safetensors"
    change(path, put("schema", schema))
    assert refusal(path) == f"{path} has header schema {schema}, this prunectl reads 1; update prunectl"


@pytest.mark.parametrize("key", ["schema", "data", "mean", "std", "dense", "weights"])
def test_a_header_without_a_field(folder, key):
    path = folder / "dense.safetensors"
    change(path, lambda head: head.pop(key))
    found = refusal(path)
    assert found.startswith(f"{path} has a damaged prunectl header (")
    assert key in found


@pytest.mark.parametrize(
    "edit",
    [
        put("unknown", 1),
        put("model", None),
        put("model", "unknown", 1),
        put("model", "input", [1, 8]),
        put("model", "input", [1, 8, 8.5]),
        put("model", "input", [1, 8, -8]),
        put("model", "input", ["sh", "-c", "true"]),
        put("model", "input", "188"),
        put("model", "classes", 0),
        put("model", "classes", 1e9),
        put("model", "classes", "10"),
        put("model", "classes", True),
        put("model", "name", None),
        put("model", "options", []),
        put("dense", "unknown", 1),
        put("dense", 5),
        put("pair", 5),
        put("pair", "../x"),
        put("pair", ""),
        put("pair", "a" * 500),
        put("pair", "\0"),
        put("history", 5),
        put("edits", 5),
        put("edits", [5]),
        put("edits", [{"module": "features.3"}]),
        put("mean", 5),
        put("mean", ["x"]),
        put("std", [None]),
    ],
)
def test_a_header_with_a_wrong_field(folder, edit):
    path = folder / "dense.safetensors"
    change(path, edit)
    assert refusal(path).startswith(f"{path} has a damaged prunectl header (")


@pytest.mark.parametrize(
    "edit",
    [
        {"module": "nowhere", "attribute": "negative_slope", "value": 0.25},
        {"module": "features.1", "attribute": "weight", "value": 1},
        {"module": "features.1", "attribute": "__class__", "value": 1},
    ],
)
def test_edits_that_do_not_fit(folder, edit):
    path = folder / "dense.safetensors"
    change(path, put("edits", [edit]))
    assert refusal(path).startswith(f"{path}: network mlp5 cannot be built as the header says (")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mlp5", {"hidden": 10**30}, "cannot be built as the header says ("),  # more than torch can count
        ("os:getcwd", {}, "takes no arguments"),
    ],
)
def test_a_network_that_cannot_be_built(folder, monkeypatch, name, options, message):
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    path = folder / "dense.safetensors"
    change(path, put("model", "name", name))
    change(path, put("model", "options", options))
    found = refusal(path)
    assert found.startswith(f"{path}: network {name} ")
    assert message in found


def test_a_header_never_calls_a_program(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    path, proof = folder / "dense.safetensors", tmp_path / "proof"
    spec = {"name": "subprocess:Popen", "input": ["touch", str(proof), "x"], "classes": 10, "options": {}}
    change(path, put("model", spec))
    assert refusal(path).startswith(f"{path} has a damaged prunectl header (")
    assert not proof.exists()


def test_an_unknown_network(folder):
    path = folder / "dense.safetensors"
    change(path, put("model", "name", "mlp4"))
    assert refusal(path, UnknownName) == f"{path}: no model named 'mlp4'; did you mean 'mlp5'?"


def test_a_network_that_is_none(folder, monkeypatch):
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    path = folder / "dense.safetensors"
    change(path, put("model", {"name": "builtins:print", "input": [1, 8, 8], "classes": 10, "options": {}}))
    assert refusal(path, OptionError) == f"{path}: model builtins:print makes a NoneType, expected a torch.nn.Module"


def test_an_unknown_option_of_the_network(folder):
    path = folder / "dense.safetensors"
    change(path, put("model", "options", {"width": 8}))
    assert refusal(path, OptionError) == f"{path}: model mlp5 has no option 'width'; its options: hidden=512"


def test_state_that_does_not_fit_the_network(folder):
    path = folder / "dense.safetensors"
    text, state = read_toc(path).metadata["prunectl"], load_file(path)
    bias = state.pop("features.1.bias")
    path.write_bytes(save(state, {"prunectl": text}))
    expected = f"{path} does not fit the network that its header names: missing ['features.1.bias'], unknown nothing"
    assert refusal(path) == expected
    path.write_bytes(save({**state, "features.1.bias": bias, "x": bias.clone()}, {"prunectl": text}))
    expected = f"{path} does not fit the network that its header names: missing nothing, unknown ['x']"
    assert refusal(path) == expected


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("features.1.weight", torch.zeros(512), "features.1.weight has shape (512,), expected 2 axes"),
        ("features.1.weight", torch.zeros(8, 64).int(), "features.1.weight is torch.int32, expected torch.float32"),
    ],
)
def test_a_tensor_of_another_kind(folder, name, tensor, message):
    path = folder / "dense.safetensors"
    text = read_toc(path).metadata["prunectl"]
    path.write_bytes(save({**load_file(path), name: tensor}, {"prunectl": text}))
    found = refusal(path)
    assert str(path) in found
    assert message in found


# --- fuzz: whatever the bytes, a failure is one line


def survives(path: Path) -> None:
    try:
        checkpoint = read(path)
    except PrunectlError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(checkpoint, Checkpoint)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a JSON tree."""
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


NAMES = st.sampled_from(["dense.safetensors", "masked.safetensors", "masked.mask.safetensors"])
ODD = st.sampled_from([None, True, -1, 0, 1, 2.5, 10**30, "", "x", ":", "a/b", "..", "\0", "\ud800", [], [1], {}])


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_changed_bytes_in_a_header(written, tmp_path_factory, data):
    name = data.draw(NAMES)
    whole = bytearray((written / name).read_bytes())
    header_end = 8 + struct.unpack("<Q", whole[:8])[0]
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, header_end - 1))] = data.draw(st.integers(0, 255))
    survives(put_beside(written, tmp_path_factory, name, bytes(whole)))


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_a_piece_cut_out_of_a_header(written, tmp_path_factory, data):
    name = data.draw(NAMES)
    whole = (written / name).read_bytes()
    header_end = 8 + struct.unpack("<Q", whole[:8])[0]
    begin = data.draw(st.integers(8, header_end - 1))
    end = data.draw(st.integers(begin + 1, min(begin + 40, header_end)))
    text = whole[8:begin] + whole[end:header_end]
    survives(put_beside(written, tmp_path_factory, name, struct.pack("<Q", len(text)) + text + whole[header_end:]))


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_any_value_of_a_header_replaced(written, tmp_path_factory, data):
    name = data.draw(NAMES)
    entries, tensors = parts((written / name).read_bytes())
    *path, last = data.draw(st.sampled_from(list(places(entries))))
    parent = entries
    for key in path:
        parent = parent[key]
    parent[last] = data.draw(ODD)
    survives(put_beside(written, tmp_path_factory, name, joined(entries, tensors)))


def put_beside(written: Path, factory: pytest.TempPathFactory, name: str, data: bytes) -> Path:
    """A folder of the written files with one replaced by `data`; the checkpoint in it that is to be read."""
    folder = factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    for path in written.iterdir():
        (folder / path.name).write_bytes(data if path.name == name else path.read_bytes())
    return folder / f"{name.split('.', maxsplit=1)[0]}.safetensors"


def test_headers_of_equal_content_are_equal_text(written):
    head, _ = read_header(written / "masked.safetensors")
    assert header.Header.from_json(head.to_json(), Path("x")) == head
    assert head.to_json() == read_toc(written / "masked.safetensors").metadata["prunectl"]
    texts = {replace(head, history=({"a": 1, "b": 2},)).to_json(), replace(head, history=({"b": 2, "a": 1},)).to_json()}
    assert len(texts) == 1


# --- networks of one's own

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
