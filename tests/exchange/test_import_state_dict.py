"""State dicts of other programs: wherever they lie in a file, whatever stands before their names."""

import copy
import json
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune

import prunectl
from prunectl.checkpoints.checkpoint import read
from tests.helpers.foreign import (
    BUILDER,
    CLASSES,
    MEAN,
    SHAPE,
    STD,
    USE,
    Net,
    accuracy,
    images,
    normalised,
    own_logits,
    trained,
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return images(tmp_path_factory.mktemp("foreign"))


@pytest.fixture(scope="module")
def net(data) -> nn.Module:
    return trained(Net(), data)


def imported(state, **how):
    """The same through the library."""
    use = {"input": SHAPE, "classes": CLASSES, "mean": MEAN, "std": STD, **how}
    return prunectl.from_state_dict(state, BUILDER, **use)


def same(checkpoint, net) -> bool:
    ours, theirs = checkpoint.model.state_dict(), net.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_accuracy_is_that_of_the_networks_own_code(net, tmp_path, cli, monkeypatch) -> None:
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    data = images(tmp_path)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    out = cli("import", "net.pth", "--model", BUILDER, *USE, "--data", "imagefolder:images", "-o", "net.safetensors")
    assert out == "net.safetensors\n"
    record = json.loads(cli("eval", "net.safetensors", "--no-latency", "--json"))
    assert record["accuracy"] == pytest.approx(accuracy(own_logits(net, data), data.test.labels), abs=1e-6)
    ours = prunectl.load(tmp_path / "net.safetensors")(normalised(data.test.pixels))
    assert torch.equal(ours, own_logits(net, data))


def test_history_names_the_file_and_its_hash_and_no_folder(net, tmp_path, cli, refused, monkeypatch) -> None:
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    (tmp_path / "deep").mkdir()
    save_file({f"module.{k}": t for k, t in net.state_dict().items()}, tmp_path / "deep" / "net.safetensors")
    cli("import", tmp_path / "deep" / "net.safetensors", "--model", BUILDER, *USE, "-o", "net.safetensors")
    entry = read(tmp_path / "net.safetensors").history[0]
    assert entry.command == "import"
    assert entry.options["file"] == "net.safetensors"
    assert len(entry.options["sha256"]) == 64
    assert str(tmp_path) not in (tmp_path / "net.safetensors").read_bytes().decode("latin1")
    log = cli("log", "net.safetensors")
    assert "*  import net.safetensors --model tests.helpers.foreign:built" in log
    assert "no rerun: it imported a file" in log
    assert "step 1 (import) of net.safetensors cannot be run again: it imported a file" in refused(
        "rerun", "net.safetensors"
    )


PREFIXES = ("module.", "_orig_mod.", "module._orig_mod.", "model.", "backbone.", "net.model.module.")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_are_taken_off(net, prefix) -> None:
    assert same(imported({prefix + name: t for name, t in net.state_dict().items()}), net)


def test_wrappers_of_torch_inside_a_network_are_taken_off(net) -> None:
    state = {name.replace("stem.", "stem._orig_mod."): t for name, t in net.state_dict().items()}
    assert same(imported(state), net)


def test_a_prefix_that_the_network_has_and_the_file_lacks_is_put_before(net) -> None:
    wrapped = prunectl.from_state_dict(
        net.state_dict(), "tests.helpers.foreign:wrapped", input=SHAPE, classes=CLASSES, mean=MEAN, std=STD
    )
    assert torch.equal(wrapped.model.state_dict()["inner.head.weight"], net.head.weight)


PLACES = {
    "top": (lambda s: s, ""),
    "state_dict": (lambda s: {"epoch": 3, "state_dict": s, "best_acc": 0.5}, "state_dict"),
    "model": (lambda s: {"model": s, "args": {"lr": 0.1}, "rng": torch.zeros(5, dtype=torch.uint8)}, "model"),
    "deep": (lambda s: {"ema": {"decay": 0.9, "shadow": s}}, "ema.shadow"),
}


@pytest.mark.parametrize("place", PLACES)
def test_nested_state_dicts_are_found(net, tmp_path, place) -> None:
    nest, key = PLACES[place]
    torch.save(nest(net.state_dict()), tmp_path / "net.pt")
    found = imported(tmp_path / "net.pt")
    assert same(found, net)
    assert found.history[0].result.get("found_under", "") == key


def test_a_zip_that_was_compressed_again_is_read_as_well(net, tmp_path) -> None:
    plain, packed = tmp_path / "net.pt", tmp_path / "packed.pt"
    torch.save(net.state_dict(), plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, bytes(source.read(name)))
    assert zipfile.ZipFile(packed).infolist()[0].compress_type == zipfile.ZIP_DEFLATED
    assert same(imported(packed), net)


def test_the_state_of_an_optimizer_is_no_network(net, tmp_path) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.randn(2, *SHAPE)).sum().backward()
    optimizer.step()
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "net.pt")
    assert same(imported(tmp_path / "net.pt"), net)


def test_several_that_fit_are_named_and_chosen_by_key(net, tmp_path) -> None:
    other = Net()
    torch.save({"model": net.state_dict(), "model_ema": {"module": other.state_dict()}}, tmp_path / "net.pt")
    with pytest.raises(prunectl.errors.OptionError, match=r"several state dicts that fit: model, model_ema.module; "):
        imported(tmp_path / "net.pt")
    assert same(imported(tmp_path / "net.pt", key="model_ema.module"), other)
    with pytest.raises(prunectl.errors.OptionError, match=r"net.pt has no tensors under `key` ema"):
        imported(tmp_path / "net.pt", key="ema")


def test_averages_of_torch_are_found_below_module(net) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(net)
    found = imported(averaged.state_dict(), allow_missing=["n_averaged"])
    assert same(found, net)
    assert found.history[0].result["unused"] == ["n_averaged"]


def test_missing_and_unused_names_are_listed(net) -> None:
    state = {name: t for name, t in net.state_dict().items() if not name.startswith("body")}
    with pytest.raises(prunectl.errors.CheckpointError) as error:
        imported({**state, "extra.weight": torch.zeros(3)})
    assert "2 missing in the file: body.0.bias, body.0.weight" in str(error.value)
    assert "1 not in the network: extra.weight" in str(error.value)
    found = imported({**state, "extra.weight": torch.zeros(3)}, allow_missing=["body.*", "extra.*"])
    assert found.history[0].result["missing"] == ["body.0.bias", "body.0.weight"]
    assert torch.equal(found.model.head.weight, net.head.weight)


def test_another_head_is_refused_or_started_afresh(net) -> None:
    with pytest.raises(prunectl.errors.CheckpointError, match=r"head.weight is 4x8, the network has 7x8"):
        imported(net.state_dict(), classes=7, allow_missing=["head.bias"])
    found = imported(net.state_dict(), classes=7, allow_missing=["head.*"])
    assert torch.equal(found.model.stem[0].weight, net.stem[0].weight)
    assert found.model.head.weight.shape == (7, 8)


HEAD = "the file is for 4 classes: pass `classes` 4, or `allow_missing` 'head.*' to leave the differing layers fresh"


@pytest.mark.parametrize(
    ("changes", "how", "said"),
    [
        ({}, {"classes": 7}, f"head.bias is 4, the network has 7 (2 tensors differ like this); {HEAD}"),
        ({"head.bias": None}, {"classes": 7}, f"head.weight is 4x8, the network has 7x8; {HEAD}"),
        (
            {"stem.0.weight": torch.zeros(8, 1, 3, 3)},
            {},
            "stem.0.weight is 8x1x3x3, the network has 8x3x3x3; the file is for 1-channel images: pass `input` 1x",
        ),
        (
            {"stem.0.weight": torch.zeros(8, 1, 3, 3)},
            {"classes": 7},
            "the file is for 4 classes and 1-channel images: pass `classes` 4 `input` 1x",
        ),
        (
            {"body.0.weight": torch.zeros(9, 8, 3, 3)},
            {},
            "pass the `model`, `classes`, `input` and -M that the file",
        ),
        ({"head.bias": None}, {}, "or `allow_missing` 'head.*' to leave missing layers fresh"),
        ({"head.scale": torch.zeros(2)}, {}, "or `allow_missing` 'head.*' to skip layers that the network lacks"),
    ],
)
def test_the_next_step_is_what_makes_the_file_fit(net, changes, how, said) -> None:
    state = {name: tensor for name, tensor in {**net.state_dict(), **changes}.items() if tensor is not None}
    with pytest.raises(prunectl.errors.CheckpointError) as error:
        imported(state, **how)
    assert said in str(error.value), error.value


def test_a_network_of_one_layer_says_the_classes_too() -> None:
    state = {"classifier.0.weight": torch.zeros(1000, 64), "classifier.0.bias": torch.zeros(1000)}
    with pytest.raises(prunectl.errors.CheckpointError, match="the file is for 1,000 classes: pass `classes` 1000"):
        prunectl.from_state_dict(state, "logistic-regression", input=(1, 8, 8), classes=10, mean=[0.5], std=[0.5])


def test_a_file_from_before_num_batches_tracked_is_whole(net) -> None:
    state = {name: t for name, t in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert torch.equal(imported(state).model.stem[1].running_var, net.stem[1].running_var)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32_and_are_named(net, dtype) -> None:
    state = {name: t.to(dtype) if t.is_floating_point() else t for name, t in net.state_dict().items()}
    found = imported(state)
    assert {p.dtype for p in found.model.parameters()} == {torch.float32}
    assert torch.equal(found.model.head.weight, net.head.weight.to(dtype).float())
    assert found.history[0].result["converted"] == [str(dtype).removeprefix("torch.")]


def test_the_command_says_what_it_converted(net, tmp_path, raw) -> None:
    torch.save({name: t.half() for name, t in net.state_dict().items()}, tmp_path / "net.pt")
    ran = raw("import", "net.pt", "--model", BUILDER, *USE)
    assert (ran.code, ran.out) == (0, "net.import.safetensors\n")
    assert "float16 converted" in ran.err


def test_pairs_of_torchs_pruning_become_masks(net, tmp_path) -> None:
    pruned = copy.deepcopy(net)
    prune.l1_unstructured(pruned.body[0], "weight", amount=100)
    prune.identity(pruned.head, "weight")
    torch.save({f"module.{name}": t for name, t in pruned.state_dict().items()}, tmp_path / "net.pt")
    found = imported(tmp_path / "net.pt")
    assert list(found.masks) == ["body.0.weight"]
    assert int((~found.masks["body.0.weight"]).sum()) == 100
    assert found.history[0].result["weight_sparsity"] == pytest.approx(100 / (216 + 576 + 32))
    assert torch.equal(found.model.body[0].weight, pruned.body[0].weight)
    x = torch.randn(3, *SHAPE)
    assert torch.equal(found.model.eval()(x), pruned.eval()(x))
    prunectl.save(found, tmp_path / "net.safetensors")


def test_nothing_that_fits_is_one_line(tmp_path) -> None:
    with pytest.raises(prunectl.errors.CheckpointError, match="no tensor of a state dict fits the network: it has a, "):
        imported({"a": torch.zeros(3)})


def test_what_is_no_weight_is_refused(net) -> None:
    for value, what in (
        (torch.full((4, 8), torch.nan), "not finite"),
        (torch.ones(4, 8, dtype=torch.int8), "int8, expected float32"),
        (torch.ones(4, 8, dtype=torch.complex64), "complex64, expected float32"),
        (torch.ones(4, 8).to_sparse(), "sparse"),
    ):
        with pytest.raises(prunectl.errors.CheckpointError, match=what):
            imported({**net.state_dict(), "head.weight": value})
