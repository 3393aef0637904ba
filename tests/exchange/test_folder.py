"""A folder is read again by prunectl and by the libraries that such folders are for."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torchvision.transforms import InterpolationMode, functional

from prunectl.checkpoints.checkpoint import load, read, to_header, write
from prunectl.checkpoints.inspect import inspect
from prunectl.data.load import load_data
from prunectl.errors import StructureError
from prunectl.exchange.card import card
from prunectl.exchange.export import export
from prunectl.models.fresh import fresh
from tests.helpers.random_checkpoints import dense_checkpoint
from tests.helpers.running import listing

FILES = ["README.md", "config.json", "model.pt2", "model.safetensors", "preprocessor_config.json"]


@pytest.fixture(scope="module")
def of_timm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a dense network of timm for 32x32 images in color."""
    folder = tmp_path_factory.mktemp("timm")
    checkpoint = dense_checkpoint("timm/test_efficientnet", (3, 32, 32))
    write(checkpoint, folder / "net.safetensors")
    export(folder / "net.safetensors", folder / "hub")
    return folder / "hub"


@pytest.mark.parametrize("name", ["net", "net.prune", "net.prune.shrink"])
def test_every_command_reads_a_folder(cli, net: Path, name: str) -> None:
    source, folder = net.with_name(f"{name}.safetensors"), net.with_name("hub")
    assert cli("export", source.name, "-o", "hub/") == "hub/\n"
    masks = [] if name == "net" else ["model.mask.safetensors"]
    assert sorted(listing(folder)) == sorted([*FILES, *masks])
    images = torch.randn(3, 1, 28, 28)
    assert torch.equal(load(folder)(images), load(source)(images))
    before, after = read(source), read(folder)
    assert after.edits == before.edits and after.history == before.history and after.names == before.names
    assert set(dict(after.masks.items())) == set(dict(before.masks.items()))
    measured = json.loads(cli("eval", source.name, "--json", "--no-latency"))
    again = json.loads(cli("eval", "hub", "--json", "--no-latency"))
    assert [again[key] for key in ("accuracy", "weights", "flops")] == [
        measured[key] for key in ("accuracy", "weights", "flops")
    ]
    for command in ("inspect", "log"):
        assert "lenet300" in cli(command, "hub")


def test_weights_that_another_program_wrote_anew_are_read_by_the_header_in_the_configuration(cli, net: Path) -> None:
    cli("export", net.name, "-o", "hub")
    weights = net.with_name("hub") / "model.safetensors"
    with safe_open(weights, "pt") as file:
        assert file.metadata().keys() == {"format", "prunectl"}
    save_file(load_file(weights), weights, {"format": "pt"})
    images = torch.randn(3, 1, 28, 28)
    assert torch.equal(load(net.with_name("hub"))(images), load(net)(images))
    assert inspect(weights)["model"] == "lenet300"


@pytest.mark.long
def test_the_card_says_what_was_measured_and_how_it_was_made(cli, net: Path) -> None:
    record = json.loads(cli("eval", "net.prune.shrink.safetensors", "--json"))
    cli("export", "net.prune.shrink.safetensors", "-o", "hub")
    card = net.with_name("hub").joinpath("README.md").read_text(encoding="utf-8")
    for row in (
        f"| accuracy (digits, 355 images) | {record['accuracy']:.4f} |",
        f"| weights | {record['weights']:,} | {record['dense']['weights']:,} |",
        f"| FLOPs per image | {record['flops']:,} | {record['dense']['flops']:,} |",
        f"| latency, batch of 1 (cpu, one CPU thread) | {1000 * record['latency'][0]['median_s']:.3g} ms |",
        "prunectl train --model=lenet300",
        "prunectl shrink",
        'pipeline_tag: "image-classification"',
        str(read(net.with_name("net.prune.shrink.safetensors")).sha256),
    ):
        assert row in card
    from huggingface_hub import ModelCard

    metadata = ModelCard(card).data
    assert metadata.eval_results[0].metric_value == record["accuracy"]


def test_the_card_of_a_strangers_file_holds_no_markdown_of_its_own() -> None:
    hostile = "a\n```\n<script>x</script>\n[b](http://x.y)"
    data = load_data("synthetic", image_size=4)
    begun = fresh("logistic-regression", data, source="synthetic")
    made = begun.after("prune", {"criterion": hostile, "sparsity": 0.5, "seed": 0, "device": "cpu"})
    text = card(made, to_header(made, None), "hub", None, None)
    assert text.count("\n```") == 4
    assert not any(line.startswith(("<", "[")) for line in text.splitlines())
    assert r"a\n```\n<script>x</script>" in text


def test_an_earlier_export_is_replaced_with_force_and_other_files_stay(cli, refused, net: Path) -> None:
    cli("export", "net.prune.safetensors", "-o", "hub")
    folder = net.with_name("hub")
    (folder / ".gitattributes").write_text("mine")
    assert "hub exists" in refused("export", net.name, "-o", "hub")
    cli("export", net.name, "-o", "hub", "--force")
    assert sorted(listing(folder)) == [".gitattributes", *FILES]
    assert not dict(read(folder).masks.items())


def test_a_folder_of_other_files_is_never_touched(refused, net: Path) -> None:
    net.with_name("mine").mkdir()
    (net.with_name("mine") / "model.bin").write_text("mine")
    assert "the folder holds other files" in refused("export", net.name, "-o", "mine", "--force")
    net.with_name("file").write_text("mine")
    assert "file exists" in refused("export", net.name, "-o", "file")


def test_a_failure_leaves_no_folder(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = listing(net.parent)
    monkeypatch.setattr("prunectl.exchange.folder.ALLOWED", -1.0)
    with pytest.raises(Exception, match="nothing was written"):
        export(net, net.with_name("hub"))
    assert listing(net.parent) == before


@pytest.mark.long
def test_transformers_loads_the_folder_of_its_own_network(tmp_path: Path) -> None:
    options = {
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "patch_size": 8,
    }
    checkpoint = dense_checkpoint("transformers/vit", (3, 32, 32), **options)
    write(checkpoint, tmp_path / "net.safetensors")
    export(tmp_path / "net.safetensors", tmp_path / "hub")
    from transformers import AutoModelForImageClassification

    network = AutoModelForImageClassification.from_pretrained(tmp_path / "hub").eval()
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(network(images).logits, load(tmp_path / "hub")(images), atol=1e-5)
    assert network.config.id2label[3] == "class 3"
    with pytest.raises(StructureError, match="returns its logits in a record"):
        export(checkpoint, tmp_path / "loader.py")


def test_import_says_that_a_folder_is_a_checkpoint_already(of_timm: Path, refused) -> None:
    assert "is already a prunectl checkpoint" in refused("import", of_timm, "-o", "again.safetensors")


def test_timm_loads_the_folder_of_its_own_network(of_timm: Path) -> None:
    network = timm.create_model(f"local-dir:{of_timm}", pretrained=True).eval()
    images = torch.randn(3, 3, 32, 32)
    assert torch.allclose(network(images), load(of_timm)(images), atol=1e-5)
    use = network.pretrained_cfg
    assert (use["input_size"], tuple(use["mean"]), use["crop_pct"], use["interpolation"]) == (
        [3, 32, 32],
        (0.5, 0.4, 0.3),
        0.875,
        "bicubic",
    )
    assert use["label_names"][3] == "class 3"
    told = json.loads((of_timm / "config.json").read_text(encoding="utf-8"))
    assert told["id2label"]["3"] == "class 3" and told["label2id"]["class 3"] == 3


@pytest.mark.long
def test_transformers_makes_input_as_the_checkpoint_says(of_timm: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    from transformers import AutoImageProcessor

    found = AutoImageProcessor.from_pretrained(of_timm)(image, return_tensors="pt")["pixel_values"]
    resized = functional.resize(image, 36, interpolation=InterpolationMode.BICUBIC)
    wanted = functional.to_tensor(functional.center_crop(resized, 32))
    wanted = functional.normalize(wanted, [0.5, 0.4, 0.3], [0.25, 0.2, 0.3])
    assert (found[0] - wanted).abs().max() < 1.01 / 255 / 0.2  # a step of a pixel's value


def test_a_folder_of_an_own_network_needs_trust(net: Path, monkeypatch: pytest.MonkeyPatch, raw) -> None:
    earlier = Path(__file__).parent.parent / "checkpoints" / "earlier"
    for name in ("networks.py", "modules.safetensors"):
        shutil.copy(earlier / name, net.parent)
    assert "PRUNECTL_TRUST" in raw("export", "modules.safetensors", "-o", "hub").err
    assert not net.with_name("hub").exists()
