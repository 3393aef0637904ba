"""What methods keep of each layer: from headers alone, and as tables of the page and of the command line."""

import csv
import io
import json
from dataclasses import replace

import pytest
import torch

from prunectl.checkpoints.checkpoint import read, write
from prunectl.data.load import load_data
from prunectl.masks import Masks, prunable
from prunectl.models.fresh import fresh
from prunectl.reporting.kept import KeptLayer, dense_shapes, kept_layers
from prunectl.reporting.network.layers import dense_layers, layers, whole_masks
from prunectl.reporting.page.data import page_data
from prunectl.reporting.page.page import page
from prunectl.reporting.page.sections.layers import layers_section
from prunectl.reporting.sources import collect
from tests.helpers.report_folders import measure


@pytest.mark.parametrize("name", ["net", "net.prune", "net.prune.shrink"])
def test_the_headers_say_what_the_masks_do(name, net):
    path = net.with_name(f"{name}.safetensors")
    sources = collect([net.parent]).given
    (source,) = [one for one in sources if one.path == path]
    dense = dense_layers(path)
    assert [*dense] == ["features.1", "features.4", "classifier.0"]  # the order of the network
    assert dense_shapes(sources) == dense
    expected = {
        layer.name: KeptLayer(layer.kept / layer.weights, layer.left / layer.outputs)
        for layer in layers(whole_masks(read(path)))
    }
    assert kept_layers(source, dense) == expected


@pytest.mark.parametrize("side", [1, 3, 4, 5])
def test_outputs_that_keep_a_weight_are_counted_in_packed_bits(side, tmp_path):
    torch.manual_seed(side)
    start = fresh("logistic-regression", load_data("digits", image_size=side), source="digits")
    ((name, weight),) = prunable(start.model).items()
    mask = torch.rand(weight.shape) < 0.5 / side**2
    mask[3] = True
    write(replace(start, masks=Masks({name: mask})), tmp_path / "x.safetensors")
    (source,) = collect([tmp_path / "x.safetensors"]).given
    (found,) = kept_layers(source, dense_shapes([source])).values()
    counted = found.weights * mask.numel(), found.outputs * 10
    assert counted == pytest.approx((int(mask.sum()), int(mask.any(1).sum())))


def test_networks_that_cannot_be_compared_keep_nothing(net):
    sources = {one.path.name: one for one in collect([net.parent]).given}
    pruned = sources["net.prune.safetensors"]
    assert kept_layers(pruned, {"other": (3, 3)}) == {}
    assert kept_layers(pruned, {"features.1": (300, 784, 1)}) == {}
    assert dense_shapes([sources["net.prune.shrink.safetensors"]]) == {}
    net.with_name("net.prune.mask.safetensors").unlink()
    assert kept_layers(pruned, dense_shapes(sources.values())) == {}


@pytest.fixture
def compared(net, cli):
    """One seed of magnitude at 0.98, and two of structured-random at 0.5, of which the nodes are removed."""
    measure(net.with_name("net.prune.safetensors"), 0.9)
    for seed in (0, 1):
        cli("prune", net, "-c", "structured-random", "-s", 0.5, "--seed", seed, "-o", f"r{seed}.safetensors")
        cli("shrink", f"r{seed}.safetensors", "-o", f"small{seed}.safetensors")
        measure(net.with_name(f"small{seed}.safetensors"), 0.8)
    for name in ("net.prune.shrink", "r0", "r1"):
        for file in net.parent.glob(f"{name}.*safetensors"):
            file.unlink()
    return net.parent


def test_layers_by_methods_for_each_target(compared):
    section = layers_section(page_data(collect([compared])))
    assert (section.panel_label, section.folded) == ("Target", "")
    assert [panel.title for panel in section.panels] == ["0.98", "0.5"]  # the best trade-off first
    weights, outputs = section.panels[1].tables
    assert (weights.columns, outputs.columns) == (("layer", "dense", "structured-random"),) * 2
    shown = {row[0].text: row[2] for row in weights.rows}
    masks = [whole_masks(read(compared / f"small{seed}.safetensors")) for seed in (0, 1)]
    for name in masks[0]:
        shares = [float(each[name].float().mean()) for each in masks]
        cell = shown[name.removesuffix(".weight")]
        assert cell.value == pytest.approx(sum(shares) / 2)
        assert " ± " in cell.text
    kept = sum(int(mask.sum()) for each in masks for mask in each.values()) / 2
    assert shown["all layers"].value == pytest.approx(kept / 266_200)
    assert (weights.rows[-1][1].text, outputs.rows[-1][1].text) == ("266,200", "410")


def test_one_method_alone_is_folded_on_the_page(compared):
    for file in compared.glob("net.prune.*"):
        file.unlink()
    text = page([compared])
    assert "<summary>What structured-random keeps of each layer</summary>" in text
    assert 'id="s0-layers"' in text and 'data-label="Target"' in text


def test_the_command_prints_layers_by_methods(compared, cli, refused):
    shown = cli("report", ".", "--layers")
    assert "lenet300 on digits, 0.98: weights kept, and outputs that keep any, in %\n" in shown
    names = [line.split()[0] for line in shown.splitlines() if line.startswith(("features", "classifier"))]
    assert names == ["features.1", "features.4", "classifier.0"] * 2
    rows = json.loads(cli("report", ".", "--layers", "--json"))
    assert {(row["method"], row["target"], row["seeds"]) for row in rows} == {
        ("magnitude", "0.98", 1),
        ("structured-random", "0.5", 2),
    }
    table = list(csv.DictReader(io.StringIO(cli("report", ".", "--layers", "--csv"))))
    assert [float(row["weights_kept"]) for row in table] == [row["weights_kept"] for row in rows]
    assert "| features.1 | 300x784 |" in cli("report", ".", "--layers", "--markdown")
    assert "--layers is for the terminal" in refused("report", ".", "--layers", "--latex")
    assert "expected pruned checkpoints" in refused("report", "net.safetensors", "--layers")
