"""Folders as timm and transformers save them: the network, its use and its weights, without a word from the user."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import prunectl
from prunectl.checkpoints.checkpoint import read
from prunectl.checkpoints.header import Resize
from prunectl.errors import CheckpointError, FileError, OptionError, PrunectlError, UnknownName
from tests.helpers.foreign import accuracy, images, normalised, own_logits, trained

HALF = (0.5, 0.5, 0.5)
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "patch_size": 8,
    "image_size": 16,
}
NAMES = {0: "ant", 1: "bee", 2: "cat", 3: "dog"}
PROCESSOR = {"do_resize": True, "size": {"height": 16, "width": 16}, "image_mean": HALF, "image_std": HALF}


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def vit():
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    return ViTForImageClassification(ViTConfig(**SMALL, id2label=NAMES))


def resnet():
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    how = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    return ResNetForImageClassification(ResNetConfig(**how, id2label=NAMES))


def saved(network, folder: Path, **processor: object) -> Path:
    """A folder as `save_pretrained` writes it, with the processor's file beside it."""
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({**PROCESSOR, **processor}))
    return folder


def edit(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.long
def test_a_folder_of_transformers_goes_through_every_command(tmp_path, cli) -> None:
    data = images(tmp_path)
    network = trained(resnet(), data)
    saved(network, tmp_path / "theirs")
    cli("import", "theirs", "--data", "imagefolder:images", "-o", "net.safetensors")
    record = json.loads(cli("eval", "net.safetensors", "--no-latency", "--json"))
    logits = own_logits(network, data, HALF, HALF)
    assert record["accuracy"] == pytest.approx(accuracy(logits, data.test.labels), abs=1e-6)
    ours = prunectl.load(tmp_path / "net.safetensors")
    torch.testing.assert_close(ours(normalised(data.test.pixels, HALF, HALF)), logits)
    found = read(tmp_path / "net.safetensors")
    assert found.names == ("ant", "bee", "cat", "dog")
    assert (found.spec.input, found.preprocessing.mean) == ((3, 16, 16), HALF)
    cli("prune", "net.safetensors", "-c", "taylor", "-s", "0.3", "-O", "batches=1", "-o", "thin.safetensors")
    cli("shrink", "thin.safetensors", "-o", "small.safetensors")
    cli("train", "small.safetensors", "--epochs", "1", "-o", "tuned.safetensors")
    assert sum(t.numel() for t in read(tmp_path / "tuned.safetensors").model.parameters()) < found.dense.parameters


@pytest.mark.long
def test_it_is_rebuilt_without_the_folder(tmp_path, cli) -> None:
    import shutil

    network = vit().eval()
    saved(network, tmp_path / "theirs")
    cli("import", "theirs", "-o", "net.safetensors")
    shutil.rmtree(tmp_path / "theirs")
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(prunectl.load(tmp_path / "net.safetensors")(x), network(x).logits)


@pytest.mark.long
def test_names_of_modules_and_prefixes_work_as_well(tmp_path) -> None:
    network = vit().eval()
    folder = prunectl.from_state_dict(saved(network, tmp_path / "theirs"))
    use = {"options": folder.spec.options, "input": (3, 16, 16), "classes": 4, "mean": HALF, "std": HALF}
    state = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    found = prunectl.from_state_dict({"state_dict": state}, "transformers/vit", **use)
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(found.model.eval()(x), network(x).logits)


def test_shards_are_read_together(tmp_path) -> None:
    network = resnet().eval()
    network.save_pretrained(tmp_path / "theirs", max_shard_size="4KB")
    (tmp_path / "theirs" / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    assert not (tmp_path / "theirs" / "model.safetensors").exists()
    found = prunectl.from_state_dict(tmp_path / "theirs")
    assert found.history[0].options["file"] == "model.safetensors.index.json"
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(found.model.eval()(x), network(x).logits)


def test_half_precision_becomes_float32(tmp_path) -> None:
    network = vit().half().eval()
    found = prunectl.from_state_dict(saved(network, tmp_path / "theirs"))
    assert {p.dtype for p in found.model.parameters()} == {torch.float32}
    assert found.history[0].result["converted"] == ["float16"]


def test_missing_and_unused_names_are_listed(tmp_path) -> None:
    folder = saved(vit(), tmp_path / "theirs")
    state = load_file(folder / "model.safetensors")
    del state["classifier.bias"]
    save_file({**state, "extra": torch.zeros(2)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 missing in the file: classifier.bias; 1 not in the network: extra"):
        prunectl.from_state_dict(folder)


@pytest.mark.parametrize(
    ("processor", "mean", "resize"),
    [
        ({}, 0.5, None),
        ({"do_normalize": False}, 0.0, None),
        ({"rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]}, 0.5, None),
        ({"size": {"shortest_edge": 20}, "do_center_crop": True, "crop_size": {"height": 16, "width": 16}}, 0.5, 0.8),
        ({"size": {"shortest_edge": 16}, "crop_pct": 0.875, "resample": 3}, 0.5, 0.875),
    ],
)
def test_the_processor_says_how_pixels_become_input(tmp_path, processor, mean, resize) -> None:
    found = prunectl.from_state_dict(saved(vit(), tmp_path / "theirs", **processor))
    assert found.preprocessing.mean == pytest.approx((mean,) * 3)
    assert found.spec.input == (3, 16, 16)
    kind = "bicubic" if processor.get("resample") == 3 else "bilinear"
    assert found.resize == (None if resize is None else Resize(16, resize, kind))


def test_what_no_file_says_is_asked_for_in_one_line(tmp_path) -> None:
    folder = saved(vit(), tmp_path / "theirs")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(
        OptionError, match=r"the file does not state the mean, std of transformers/vit; pass `mean` .* `std`"
    ):
        prunectl.from_state_dict(folder)
    assert prunectl.from_state_dict(folder, mean=[0.5], std=[0.5]).preprocessing.std == HALF


def timm_folder(folder: Path, network, **config: object) -> Path:
    """A folder as `timm.models.save_for_hf` writes it."""
    from timm.models import save_for_hf

    save_for_hf(network, folder, model_config=config or None, safe_serialization=True)
    return folder


@pytest.mark.long
def test_a_folder_of_timm_computes_what_its_own_code_does(tmp_path, cli) -> None:
    import timm

    data = images(tmp_path, size=32)
    torch.manual_seed(0)
    network = trained(timm.create_model("resnet10t", num_classes=4), data, steps=3)
    timm_folder(tmp_path / "theirs", network, label_names=list("abcd"))
    cli("import", "theirs", "--input", "3x32x32", "--data", "imagefolder:images", "-o", "net.safetensors")
    found = read(tmp_path / "net.safetensors")
    assert (found.spec.name, found.names) == ("timm/resnet10t", ("a", "b", "c", "d"))
    mean, std = network.pretrained_cfg["mean"], network.pretrained_cfg["std"]
    assert (found.preprocessing.mean, found.preprocessing.std) == (mean, std)
    record = json.loads(cli("eval", "net.safetensors", "--no-latency", "--json"))
    logits = own_logits(network, data, mean, std)
    assert record["accuracy"] == pytest.approx(accuracy(logits, data.test.labels), abs=1e-6)
    torch.testing.assert_close(
        prunectl.load(tmp_path / "net.safetensors")(normalised(data.test.pixels, mean, std)), logits
    )


@pytest.mark.long
def test_model_args_of_timm_are_options(tmp_path) -> None:
    import timm

    network = timm.create_model("resnet10t", num_classes=3, avg_down=False)
    folder = timm_folder(tmp_path / "theirs", network, model_args={"avg_down": False})
    assert prunectl.from_state_dict(folder).spec.options["avg_down"] is False


def test_configurations_that_lead_elsewhere_are_not_followed(tmp_path) -> None:
    folder = saved(vit(), tmp_path / "theirs")
    code = {"AutoModelForImageClassification": "evil.Net", "AutoConfig": "evil.Config"}
    (folder / "evil.py").write_text("raise SystemExit('ran')\n")
    how = {"_attn_implementation": "someone/kernel", "attn_implementation": "a/b", "trust_remote_code": True}
    edit(folder / "config.json", auto_map=code, **how)
    found = prunectl.from_state_dict(folder)
    assert "evil" not in json.dumps(found.spec.options)
    assert "kernel" not in json.dumps(found.spec.options)
    assert "trust" not in json.dumps(found.spec.options)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_links_that_lead_out_of_the_folder_are_refused(tmp_path, name) -> None:
    folder = saved(vit(), tmp_path / "theirs")
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileError, match="a link that leads out of its folder"):
        prunectl.from_state_dict(folder)


def test_the_cache_of_the_hub_links_to_its_blobs(tmp_path) -> None:
    cache = tmp_path / "models--someone--vit"
    folder = saved(vit(), cache / "snapshots" / "0123")
    (cache / "blobs").mkdir()
    for file in list(folder.iterdir()):
        file.rename(cache / "blobs" / file.name)
        file.symlink_to(Path("../../blobs") / file.name)
    assert prunectl.from_state_dict(folder).spec.name == "transformers/vit"


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ("[]", "is not a JSON object"),
        ("{", "is not JSON"),
        ("{}", "names neither a timm architecture nor a transformers model_type"),
        ('{"model_type": "vit", "id2label": {"x": "y"}}', "cannot be read"),
        ('{"model_type": "vit", "num_channels": "many"}', "cannot be read"),
        ('{"architecture": "resnet18", "pretrained_cfg": {"mean": 3}}', "cannot be read"),
        ('{"architecture": "resnet18", "model_args": {"a": {}}}', "a is not a plain value"),
    ],
)
def test_a_damaged_configuration_is_one_line(tmp_path, config, what) -> None:
    folder = saved(vit(), tmp_path / "theirs")
    (folder / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=what) as error:
        prunectl.from_state_dict(folder)
    assert "\n" not in str(error.value)


def test_another_type_of_network_is_one_line(tmp_path) -> None:
    folder = saved(vit(), tmp_path / "theirs")
    edit(folder / "config.json", model_type="bert")
    with pytest.raises(UnknownName, match="no model named 'transformers/bert'; did you mean"):
        prunectl.from_state_dict(folder)


def test_without_transformers_it_says_what_to_install(tmp_path, monkeypatch) -> None:
    folder = saved(vit(), tmp_path / "theirs")
    monkeypatch.setitem(__import__("sys").modules, "transformers.models.auto.modeling_auto", None)
    with pytest.raises(UnknownName, match=r"needs the package transformers: pip install 'prunectl\[hf\]'"):
        prunectl.from_state_dict(folder)


def test_a_folder_without_weights_is_one_line(tmp_path) -> None:
    with pytest.raises(FileError, match=r"holds no weights; expected one of model.safetensors"):
        prunectl.from_state_dict(tmp_path)


def test_pytorch_model_bin_and_its_shards_are_read(tmp_path) -> None:
    folder, network = saved(vit(), tmp_path / "theirs"), vit().eval()
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(prunectl.from_state_dict(folder).model.eval()(x), network(x).logits)
    (folder / "pytorch_model.bin").unlink()
    names, shards = sorted(state), {}
    for i, part in enumerate((names[::2], names[1::2])):
        torch.save({name: state[name] for name in part}, folder / f"pytorch_model-{i}.bin")
        shards |= dict.fromkeys(part, f"pytorch_model-{i}.bin")
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": shards}))
    assert torch.equal(prunectl.from_state_dict(folder).model.eval()(x), network(x).logits)


def test_pairs_of_torchs_pruning_in_a_network_of_transformers(tmp_path) -> None:
    from torch.nn.utils import prune

    folder = prunectl.from_state_dict(saved(vit(), tmp_path / "theirs"))
    network = vit().eval()
    inner = ("mlp", "intermediate")  # of transformers 5, and before
    linear = [(n, m) for n, m in network.named_modules() if isinstance(m, torch.nn.Linear)]
    name, layer = next((n, m) for n, m in linear if any(part in n for part in inner))
    prune.l1_unstructured(layer, "weight", amount=50)
    use = {"options": folder.spec.options, "input": (3, 16, 16), "classes": 4, "mean": HALF, "std": HALF}
    found = prunectl.from_state_dict(network.state_dict(), "transformers/vit", **use)
    assert int((~found.masks[f"{name}.weight"]).sum()) == 50
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(found.model.eval()(x), network(x).logits)


@pytest.mark.parametrize(
    "values",
    [{"hidden_size": "x"}, {"layer_norm_eps": None}, {"hidden_act": "nope"}, {"patch_size": [1, 2, 3]}],
    ids=lambda values: next(iter(values)),
)
def test_values_that_make_no_network_are_one_line(values, tmp_path) -> None:
    folder = saved(vit(), tmp_path / "theirs")
    edit(folder / "config.json", **values)
    with pytest.raises(PrunectlError) as error:
        prunectl.from_state_dict(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("values", [{"hidden_size": 65_536}, {"num_hidden_layers": 10**6, "hidden_size": 4_096}])
def test_a_configuration_of_another_size_than_its_file_is_refused_before_it_is_built(values, tmp_path) -> None:
    folder = saved(vit(), tmp_path / "theirs")
    edit(folder / "config.json", **values)
    with pytest.raises(
        PrunectlError, match=r"transformers/vit has at least [\d,]+ numbers: model.safetensors holds [\d,]+"
    ):
        prunectl.from_state_dict(folder)


def test_a_network_of_transformers_is_trained_afresh_by_name(cli) -> None:
    options = [word for key, value in SMALL.items() if key != "image_size" for word in ("-M", f"{key}={value}")]
    cli("train", "--model", "transformers/vit", *options, "--image-size", "16", "--subset", "64", "--epochs", "1")
