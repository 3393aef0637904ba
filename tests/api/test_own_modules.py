"""A user's own module and DataLoader: pruned, shrunk, saved and loaded in four lines, and left as they were."""

import copy
import hashlib
import json
from functools import partial
from itertools import islice

import pytest
import torch
from torch import nn

import prunectl
from prunectl.checkpoints.header import read_header
from prunectl.data.load import load_data
from prunectl.errors import CheckpointError, DataError, FileError, OptionError, UnknownName
from tests.helpers.marks import quick
from tests.helpers.own_networks import CLASSES, SHAPE, Residual, TwoInputs, loader


def vit() -> nn.Module:
    import timm

    return timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=4, depth=2, num_classes=CLASSES)


class Bare(nn.Module):
    """A network whose only channels are scaled by parameters that belong to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, CLASSES)
        self.gain, self.shift = nn.Parameter(torch.ones(8, 1, 1)), nn.Parameter(torch.zeros(1, 8, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((self.conv(x) * self.gain + self.shift).relu().amax((2, 3)))


NETWORKS = {"residual": Residual, "vit": vit, "bare": Bare}


def randomised(build) -> nn.Module:
    """With values that no default has, on which an error would show."""
    torch.manual_seed(0)
    model = build()
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand(tensor.shape))
    return model


def bits(model: nn.Module) -> str:
    """A hash of all tensors, gradients and modes of a module."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    digest.update(str([(p.grad is None, p.requires_grad) for p in model.parameters()]).encode())
    digest.update(str([module.training for module in model.modules()]).encode())
    return digest.hexdigest()


@pytest.mark.parametrize("name", quick(NETWORKS, ["residual", "bare"]))
@pytest.mark.parametrize("training", quick([True, False], [False]))
def test_four_lines_prune_shrink_save_and_load(name, training, tmp_path) -> None:
    net = randomised(NETWORKS[name]).train(training)
    before, images = bits(net), torch.randn(7, *SHAPE, dtype=torch.float64)

    thin = prunectl.prune(net, loader(), criterion="snap", sparsity=0.5)
    small = prunectl.shrink(thin)
    prunectl.save(small, tmp_path / "small.safetensors")
    loaded = prunectl.load(tmp_path / "small.safetensors", model=NETWORKS[name])

    assert bits(net) == before
    assert small.proof["float64"] <= 1e-10
    assert sum(p.numel() for p in small.model.parameters()) < 0.75 * sum(p.numel() for p in net.parameters())
    masked, shrunk = copy.deepcopy(thin.model).double().eval(), copy.deepcopy(small.model).double().eval()
    with torch.no_grad():
        expected, found = masked(images), shrunk(images)
        again = copy.deepcopy(loaded).double()(images)
    # biases into which constants were folded are stored in float32
    tolerance = 1e-10 if name == "vit" else 1e-6
    assert (expected - found).abs().max() <= tolerance * expected.abs().max()
    assert torch.equal(found, again)


def test_the_history_says_which_module_came_in() -> None:
    net = Residual()
    thin = prunectl.prune(net, loader(), criterion="snip", sparsity=0.5)
    begun, pruned = thin.history
    assert (begun.command, begun.options["class"]) == ("module", "tests.helpers.own_networks.Residual")
    assert len(begun.options["sha256"]) == 64
    assert pruned.command == "prune" and pruned.options["data"] == {"name": "loader"}
    other = prunectl.prune(Residual(), loader(), criterion="snip", sparsity=0.5)
    assert other.history[0].options["sha256"] != begun.options["sha256"]


def test_a_checkpoint_goes_on_where_a_module_began() -> None:
    thin = prunectl.prune(Residual(), loader(), criterion="magnitude", sparsity=0.5)
    trained = prunectl.train(thin, loader(), epochs=2, seed=1)
    assert trained.masks.kept(trained.model) == thin.masks.kept(thin.model)
    more = prunectl.prune(trained, loader(), criterion="snap", sparsity=0.5)
    small = prunectl.shrink(more)
    record = prunectl.evaluate(small, loader(), latency=False)
    assert record["images"] == 60 and record["node_sparsity"] == pytest.approx(0.5, abs=0.05)
    assert prunectl.diff(thin, small)["steps"][0]["command"] == "module"


def test_a_loader_of_normalised_images_counts_as_the_dataset_does(tmp_path) -> None:
    """A checkpoint keeps its own mean and std, and leaves the images of a loader as they are."""
    data = load_data("digits", image_size=8)
    dense = prunectl.train(Net(), data, epochs=2, seed=0)
    assert dense.preprocessing == data.preprocessing
    images = [(data.preprocessing(pixels), labels) for pixels, labels in data.test.batches(100)]
    expected = prunectl.evaluate(dense, data, latency=False)
    found = prunectl.evaluate(dense, images, latency=False)
    assert (found["accuracy"], found["images"]) == (expected["accuracy"], expected["images"])
    thin = prunectl.prune(dense, images, criterion="snip", sparsity=0.5)
    assert prunectl.train(thin, images, epochs=1).preprocessing == thin.preprocessing == data.preprocessing
    path = prunectl.save(thin, tmp_path / "thin.safetensors")
    with pytest.raises(CheckpointError):
        prunectl.evaluate(path, "digits")


class Net(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def test_a_recipe_is_given_whole_or_by_its_fields() -> None:
    whole = prunectl.train(Residual(), loader(), recipe=prunectl.Recipe(epochs=1, lr=0.01))
    assert whole.history[-1].options["lr"] == 0.01
    with pytest.raises(OptionError, match=r"pass `recipe`, or its fields \(lr\), not both"):
        prunectl.train(Residual(), loader(), recipe=prunectl.Recipe(), lr=0.1)
    with pytest.raises(OptionError, match="'learning_rate'; known: epochs, batch_size"):
        prunectl.train(Residual(), loader(), learning_rate=0.1)


def test_a_test_loader_is_evaluated_on() -> None:
    whole = prunectl.train(Residual(), loader(), test=loader(30), epochs=1)
    assert whole.history[-1].options["data"] == {"name": "loader"}


def test_criteria_without_data_need_the_shape_of_an_image() -> None:
    thin = prunectl.prune(Residual(), criterion="magnitude", sparsity=0.9, input=SHAPE)
    assert thin.spec.input == SHAPE and thin.spec.classes == CLASSES
    with pytest.raises(OptionError, match="pass `data`, or the shape"):
        prunectl.prune(Residual(), criterion="magnitude", sparsity=0.9)


def test_a_budget_is_met() -> None:
    thin = prunectl.prune(Residual(), loader(), criterion="taylor", flops="2x")
    assert prunectl.shrink(thin).history[-1].result["flops"] <= thin.dense.flops / 2
    with pytest.raises(OptionError, match="use one budget"):
        prunectl.prune(Residual(), loader(), criterion="taylor", flops="2x", params="2x")


def test_layers_that_are_kept_stay_whole() -> None:
    net = Residual()
    thin = prunectl.prune(net, loader(), criterion="snip", sparsity=0.5, keep=["stem", "head*"])
    assert thin.masks.get("stem.weight", torch.ones(1)).all() and thin.masks.get("head.weight", torch.ones(1)).all()
    assert thin.masks.kept(thin.model) == thin.dense.weights - round(0.5 * thin.dense.weights)
    with pytest.raises(UnknownName, match=r"no layer named 'hed'; did you mean 'head'"):
        prunectl.prune(net, loader(), criterion="snip", sparsity=0.5, keep=["hed"])


def test_any_iterable_that_can_be_iterated_again_will_do() -> None:
    batches = list(islice(loader(), 2))
    one = prunectl.prune(net := Residual(), batches, criterion="snip", sparsity=0.5)
    two = prunectl.prune(net, loader(40), criterion="snip", sparsity=0.5)
    assert all(torch.equal(one.masks[name], two.masks[name]) for name in two.masks)


X, Y = torch.randn(4, *SHAPE), torch.arange(4)


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        ([(X,)], "expected batches (images, labels), found a tuple of 1"),
        ([(X, X, Y)], "expected batches (images, labels), found a tuple of 3; networks take one input"),
        ([{"x": X, "y": Y}], "expected batches (images, labels), found a dict of 2"),
        ([(X[0], Y)], "expected float images (B, C, H, W), as the network takes them, found float32 (3, 16, 16)"),
        (
            [(torch.zeros(4, 7), Y)],
            "expected float images (B, C, H, W), as the network takes them, found float32 (4, 7)",
        ),
        ([(X.to(torch.uint8), Y)], "found uint8 (4, 3, 16, 16)"),
        ([(X, Y.float())], "expected integer labels (4,), found float32 (4,)"),
        ([(X, Y + 9)], "the loader's labels are 9 to 12, the network has 5 classes; expected 0 to 4"),
        ([(X, Y), (X[..., :8, :8], Y)], "images of (3, 16, 16) and of (3, 8, 8); expected one shape"),
        ([], "the loader yields no batch"),
        (iter([(X, Y)]), "an iterable that can be repeated"),
        (7, "expected a DataLoader or another iterable of (images, labels), found a int"),
    ],
)
def test_what_is_no_loader_is_one_line(batches, said) -> None:
    with pytest.raises(DataError) as error:
        prunectl.prune(Residual(), batches, criterion="snip", sparsity=0.5)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (TwoInputs(), "the network does not take images (B, 3, 16, 16): "),
        (nn.Conv2d(3, 4, 3), "the network returns (1, 4, 14, 14) for one image, expected logits (1, classes)"),
        (nn.Flatten(), "no convolution or linear layer"),
    ],
)
def test_a_network_that_cannot_be_pruned_is_one_line(model, said) -> None:
    with pytest.raises(OptionError) as error:
        prunectl.prune(model, [(X, Y)], criterion="snip", sparsity=0.5)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_classes_without_an_image_are_named() -> None:
    with pytest.warns(UserWarning, match=r"2 of 5 classes have no training image \(3, 4\): scores are balanced"):
        prunectl.prune(Residual(), loader(30, classes=3), criterion="snip", sparsity=0.5)
    prunectl.prune(Residual(), loader(30, classes=3), criterion="snip", sparsity=0.5, balanced=False)


def test_attacks_take_images_in_the_unit_range() -> None:
    pixels = [(torch.rand(8, *SHAPE), torch.arange(8) % CLASSES)]
    record = prunectl.attack(Residual(), pixels, attack="fgsm", eps=[1e-9, 0.1])
    assert record["results"][0]["robust_accuracy"] == record["clean_accuracy"]
    assert prunectl.corrupt(Residual(), pixels, corruptions=["blur"])["images"] == 8
    for measure in (partial(prunectl.attack, attack="fgsm"), prunectl.corrupt):
        with pytest.raises(DataError, match=r"expected pixels in \[0, 1\]"):
            measure(Residual(), loader())


# --- files


def test_a_file_of_ones_own_class_is_loaded_by_class_builder_module_or_name(tmp_path) -> None:
    thin = prunectl.prune(Residual(), loader(), criterion="snap", sparsity=0.5)
    path = prunectl.save(thin, tmp_path / "thin.safetensors")
    expected = thin.model.eval()(X)
    for model in (Residual, lambda: Residual(12), lambda shape, classes: Residual(), Residual(), BUILDER):
        assert torch.equal(prunectl.load(path, model=model)(X), expected)
    with pytest.raises(
        CheckpointError, match=r"class tests.helpers.own_networks.Residual.*prunectl.load\(path, model=Res"
    ):
        prunectl.load(path)
    with pytest.raises(OptionError, match=r"`model` <lambda> must take no arguments, or the shape"):
        prunectl.load(path, model=lambda shape: Residual())
    with pytest.raises(CheckpointError):
        prunectl.load(path, model=lambda: Residual(13))


BUILDER = "tests.helpers.own_networks:build"


def test_a_named_builder_makes_a_file_that_every_command_reads(tmp_path, raw, monkeypatch) -> None:
    small = prunectl.shrink(prunectl.prune(Residual(), loader(), criterion="snap", sparsity=0.5))
    path = prunectl.save(small, tmp_path / "small.safetensors", model=BUILDER, data="synthetic")
    assert read_header(path)[0].data == "synthetic"
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    for command in ("inspect", "explain", "log", "report"):
        assert raw(command, path.name).code == 0
    (step, *_) = json.loads(raw("log", path.name, "--json").out)["steps"]
    assert step["command"] == "module"
    ran = raw("rerun", path.name)
    assert ran.code == 1 and "cannot be run again: it began with an nn.Module in a Python program" in ran.err


def test_a_builder_of_another_network_is_refused(tmp_path) -> None:
    thin = prunectl.prune(Residual(13), loader(), criterion="snap", sparsity=0.5)
    with pytest.raises(OptionError, match="expected float32 12"):
        prunectl.save(thin, tmp_path / "thin.safetensors", model=BUILDER)
    assert not list(tmp_path.iterdir())


def test_an_earlier_file_is_replaced_only_by_force(tmp_path) -> None:
    thin = prunectl.prune(Residual(), loader(), criterion="snap", sparsity=0.5)
    path = prunectl.save(thin, tmp_path / "thin.safetensors")
    with pytest.raises(FileError):
        prunectl.save(thin, path)
    assert prunectl.save(thin, path, force=True) == path


def test_a_folder_of_files_is_reported(tmp_path) -> None:
    thin = prunectl.prune(Residual(), loader(), criterion="snap", sparsity=0.5)
    prunectl.save(thin, tmp_path / "thin.safetensors")
    (row,) = prunectl.report([str(tmp_path / "thin.safetensors")])
    assert row["criterion"] == "snap"


def test_a_module_is_explained_by_the_shape_of_its_images() -> None:
    record = prunectl.explain(Residual(), SHAPE)
    assert (record["model"], record["nodes"]) == ("Residual", 12)
    thin = prunectl.prune(Residual(), loader(), criterion="snap", sparsity=0.5)
    assert prunectl.explain(thin)["nodes"] == 12
    with pytest.raises(OptionError, match="pass `input`"):
        prunectl.explain(Residual())


def test_a_network_of_unknown_name_cannot_be_written(tmp_path) -> None:
    from dataclasses import replace

    from prunectl.checkpoints.checkpoint import write

    thin = prunectl.prune(Residual(), loader(), criterion="snap", sparsity=0.5)
    named = replace(thin, spec=replace(thin.spec, name="nothing-has-this-name"))
    with pytest.raises(CheckpointError, match="could not be read again: no model named 'nothing-has-this-name'"):
        write(named, tmp_path / "thin.safetensors")
    assert not list(tmp_path.iterdir())


def test_the_names_of_the_package_are_all_there() -> None:
    assert {name for name in prunectl.__all__ if not hasattr(prunectl, name)} == set()
    assert all(getattr(prunectl, name).__doc__ for name in prunectl.__all__ if name != "__version__")
