"""The analysis of one network for the page."""

import io

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from prunectl.checkpoints.checkpoint import read
from prunectl.checkpoints.files import sha256
from prunectl.errors import UntrustedCode
from prunectl.masks import prunable
from prunectl.reporting.network import seconds
from prunectl.reporting.network import speed as timing
from prunectl.reporting.network.distribution import distribution
from prunectl.reporting.network.layers import layers, whole_masks
from prunectl.reporting.network.look import look
from prunectl.reporting.network.onnx import HINT
from prunectl.reporting.network.picture import heatmap
from prunectl.reporting.network.samples import samples
from prunectl.reporting.page.data import page_data, shown_networks
from prunectl.reporting.page.sections.inside import inside_section
from prunectl.reporting.sources import collect
from tests.helpers.networks import checkpoint_of, image_data, randomise_
from tests.helpers.report_folders import TRAIN, checkpoint, measure


def test_layers_of_a_shrunk_network_have_the_shapes_of_the_dense_ones(net, tmp_path):
    masked = whole_masks(read(tmp_path / "net.prune.safetensors"))
    small = whole_masks(read(tmp_path / "net.prune.shrink.safetensors"))
    assert {name: mask.shape for name, mask in small.items()} == {name: mask.shape for name, mask in masked.items()}
    assert all((small[name] <= masked[name]).all() for name in small)
    found = layers(small)
    assert [(layer.name, layer.shape, layer.outputs) for layer in found] == [
        ("features.1", (300, 784), 300),
        ("features.4", (100, 300), 100),
        ("classifier.0", (10, 100), 10),
    ]
    assert sum(layer.kept for layer in found) == read(tmp_path / "net.prune.shrink.safetensors").masks.kept(
        read(tmp_path / "net.prune.shrink.safetensors").model
    )
    assert [layer.left for layer in found] == [int(mask.any(1).sum()) for mask in small.values()]


def test_a_picture_is_transparent_where_nothing_is_kept():
    pixels = Image.open(io.BytesIO(heatmap(torch.tensor([[0.0, 0.5], [1.0, 2.0]]))))
    assert pixels.tobytes() == bytes([0, 114, 178, 0, 0, 114, 178, 128, 0, 114, 178, 255, 0, 114, 178, 255])


def test_large_masks_are_drawn_small():
    (layer,) = layers({"fc.weight": torch.ones(500, 700, dtype=torch.bool)})
    assert Image.open(io.BytesIO(layer.picture)).size == (128, 64)
    assert (layer.name, layer.weights, layer.kept, layer.left) == ("fc", 350_000, 350_000, 500)


def test_values_are_counted_and_ranked():
    found = distribution([torch.tensor([-3.0, 1.0]), torch.tensor([2.0, 0.0])], kept=2)
    assert (found.count, found.kept, sum(found.counts)) == (4, 2, 4)
    assert (found.edges[0], found.edges[-1]) == (-3.0, 2.0)
    assert found.ranked == ((1, 3.0), (2, 2.0), (3, 1.0), (4, 0.0))
    assert distribution([torch.tensor([])], kept=0) is None
    assert distribution([torch.tensor([5.0])], kept=1).ranked == ((1, 5.0),)


def test_saliency_of_a_linear_network_is_its_weights():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    checkpoint, data = checkpoint_of(randomise_(model), (1, 8, 8)), image_data()
    found = samples(checkpoint, data)
    assert [sample.label for sample in found] == ["0", "1", "2"]
    for sample in found:
        alpha = torch.tensor(list(Image.open(io.BytesIO(sample.saliency)).tobytes())).view(64, 4)[:, 3]
        weights = model[1].weight[int(sample.answer)].abs().detach()
        assert torch.equal(alpha.argsort()[:32].sort().values, weights.argsort()[:32].sort().values)


def large_images(checkpoint):
    """Images that LeNet-300-100 takes."""
    return image_data(shape=(1, 28, 28), classes=10)


@pytest.fixture
def quick(monkeypatch):
    """Timings of a few runs, without ONNX Runtime."""
    monkeypatch.setattr(seconds, "_SECONDS", 0.0)
    monkeypatch.setattr(timing, "seconds_in_onnx", lambda networks, shape: HINT)


def test_a_look_into_a_masked_network(net, tmp_path, quick):
    sources = collect([tmp_path / "net.prune.safetensors"])
    (source,) = sources.given
    found = look(
        source, sources.lineage[source.path], images=lambda checkpoint: image_data(shape=(1, 28, 28), classes=10)
    )
    assert (found.weights.count, found.before.count) == (5324, 266_200)
    assert found.before.kept == 5324
    assert found.missing == {
        "scores": "No scores: neither net.prune.scores.safetensors nor one for an ancestor exists."
    }
    assert len(found.samples) == 8
    assert [(t.network, t.runtime, t.batch) for t in found.speed.timings] == [
        (name, "torch", batch) for batch in (1, 64) for name in ("dense", "masked", "shrunk")
    ]
    assert all(0 < t.low_s <= t.median_s <= t.high_s for t in found.speed.timings)
    assert HINT in found.speed.reasons


def test_scores_beside_an_ancestor_are_read(net, tmp_path, quick):
    sources = collect([tmp_path / "net.prune.safetensors"])
    (source,) = sources.given
    dense = read(tmp_path / "net.safetensors")
    scores = {name: weight.detach().abs() for name, weight in prunable(dense.model).items()}
    save_file(scores, tmp_path / "net.scores.safetensors", {"checkpoint": sha256(tmp_path / "net.safetensors")})
    found = look(source, sources.lineage[source.path], run=False)
    assert (found.scores.count, found.scores.kept) == (266_200, 5324)
    assert found.missing == {
        "samples": "The network was not run for this page.",
        "speed": "The network was not run for this page.",
    }
    save_file(scores, tmp_path / "net.scores.safetensors", {"checkpoint": "of other bytes"})
    assert look(source, sources.lineage[source.path], run=False).scores is None
    save_file({"other": torch.ones(3)}, tmp_path / "net.scores.safetensors")
    found = look(source, sources.lineage[source.path], run=False)
    assert found.scores is None
    assert found.missing["scores"].endswith(
        "net.scores.safetensors cannot be read, or holds scores of another network."
    )


@pytest.mark.parametrize(
    ("criterion", "count", "kept"), [("magnitude", 266_200, 26_620), ("structured-random", 400, 40)]
)
def test_prune_keeps_its_scores_where_the_report_finds_them(criterion, count, kept, net, cli, refused, tmp_path, quick):
    line = ("prune", net.name, "-c", criterion, "-s", "0.9", "-o", "new.safetensors", "--scores-out")
    cli(*line)
    sources = collect([tmp_path / "new.safetensors"])
    (source,) = sources.given
    found = look(source, sources.lineage[source.path], run=False)
    assert (found.scores.count, found.scores.kept) == (count, kept)
    (tmp_path / "new.safetensors").unlink()
    (tmp_path / "new.mask.safetensors").unlink()
    assert "new.scores.safetensors exists" in refused(*line)


@pytest.mark.long
def test_adversarial_examples_are_shown_beside_their_images(net, tmp_path, quick):
    images = torch.zeros(3, 1, 2, 2)
    tensors = {"clean": images, "adversarial": images + 0.2, "label": torch.tensor([0, 1, 2])}
    tensors["adversarial_prediction"] = torch.tensor([7, 8, 9])
    save_file(tensors, tmp_path / "net.examples.safetensors", {"checkpoint": sha256(net)})
    sources = collect([net])
    (source,) = sources.given
    found = look(source, run=False)
    assert [(one.label, one.answer) for one in found.adversarial] == [(0, 7), (1, 8), (2, 9)]
    assert Image.open(io.BytesIO(found.adversarial[0].adversarial)).tobytes() == bytes([51] * 4)
    (_, pictures) = inside_section(page_data(sources, source, {source.path: found})).panels[0].pictures[-1]
    assert [picture.caption for picture in pictures] == [f"{i}, then classified as {i + 7}" for i in range(3)]
    save_file(tensors, tmp_path / "net.examples.safetensors", {"checkpoint": "of other bytes"})
    assert look(source, run=False).adversarial == ()
    (tmp_path / "net.examples.safetensors").write_bytes(b"")
    assert look(source, run=False).adversarial == ()


def test_a_dense_network_has_nothing_to_compare(net, tmp_path, quick):
    (source,) = collect([tmp_path / "net.safetensors"]).given
    found = look(source, images=large_images)
    assert [t.network for t in found.speed.timings] == ["dense", "dense"]
    assert found.speed.reasons == ("Nothing is pruned.", HINT)


def test_a_network_that_cannot_be_analysed_does_not_stop_the_page(net, tmp_path, raw, refused, monkeypatch):
    def fails(path):
        raise UntrustedCode(f"{path} names code of its own")

    monkeypatch.setattr("prunectl.reporting.network.look.read", fails)
    ran = raw("report", "net.safetensors", "-o", "page.html")
    assert (ran.code, ran.out) == (0, "page.html\n")
    assert ran.err == (
        "report: no accuracy yet: net; run `prunectl eval` on them first\n"
        "report: cannot analyse net.safetensors: net.safetensors names code of its own\n"
    )
    assert "No layer details: net.safetensors names code of its own." in (tmp_path / "page.html").read_text()
    error = refused("report", "-q", "net.safetensors", "-o", "other.html", "--inside", "net.safetensors")
    assert error == "prunectl: net.safetensors names code of its own\n"


def test_inside_names_a_checkpoint_that_is_there(net, refused):
    error = refused("report", "net.safetensors", "-o", "page.html", "--inside", "gone.safetensors")
    told = "cannot show the layers of gone.safetensors: no such checkpoint; expected an existing NAME.safetensors"
    assert error == f"prunectl: {told}\n"


def focus_of(sources):
    """The network that a page shows first."""
    return shown_networks(sources)[0].source


def test_without_a_trade_off_the_page_shows_the_last_network_that_was_measured(tmp_path):
    for name in ("a", "b", "c"):
        checkpoint(tmp_path, name, ("train", {**TRAIN, "seed": ord(name)}))
    assert focus_of(collect([tmp_path])).path.name == "c.safetensors"
    measure(tmp_path / "b.safetensors", 0.5)
    assert focus_of(collect([tmp_path])).path.name == "b.safetensors"


def test_the_command_writes_the_page_and_prints_its_path(net, tmp_path, cli, quick):
    cli("eval", "net.prune.safetensors", "--no-latency")
    given = ("net.prune.safetensors", "net.safetensors", "-o", "page.html", "--inside", "net.prune.safetensors")
    assert cli("report", *given) == "page.html\n"
    text = (tmp_path / "page.html").read_text()
    assert "<summary>magnitude 0.98, best trade-off</summary>" in text
    assert "Mask of features.1: " in text
