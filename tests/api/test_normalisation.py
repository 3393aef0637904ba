"""Networks that a loader reached: nothing says how pixels become their input until `save` is given mean and std."""

import json

import pytest
import torch
from torch import Tensor

import prunectl
from prunectl.checkpoints.checkpoint import read
from prunectl.checkpoints.header import KEY, Header, read_header, read_toc
from prunectl.data.images import ImageData, Images, Preprocessing
from prunectl.data.own import own_data
from prunectl.errors import CheckpointError, NoNormalisation, OptionError
from tests.helpers.marks import one_in
from tests.helpers.own_networks import CLASSES, SHAPE, Residual, loader

BUILDER = "tests.helpers.own_networks:build"
MEAN, STD = (0.5, 0.25, 0.75), (0.25, 0.5, 0.125)
PIXELS = torch.randint(256, (30, *SHAPE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
LABELS = torch.arange(30) % CLASSES


def normalised() -> Tensor:
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (MEAN, STD))
    return (PIXELS / 255 - mean) / std


def dataset() -> ImageData:
    images = Images(PIXELS, LABELS)
    return ImageData("mine", images, images, tuple("abcde"), Preprocessing((0.0,) * 3, (1.0,) * 3))


@pytest.fixture
def thin() -> prunectl.Checkpoint:
    torch.manual_seed(0)
    return prunectl.prune(Residual(), loader(), criterion="snap", sparsity=0.5)


LINES = (
    "eval small.safetensors --data synthetic",
    "prune small.safetensors --data synthetic -c snip -s 0.9",
    "train small.safetensors --data synthetic --epochs 1",
    "repair small.safetensors --data synthetic --method bn",
    "attack small.safetensors --data synthetic -a fgsm",
    "attack small.safetensors --data synthetic --corruptions noise",
    "predict small.safetensors image.png",
    "export small.safetensors -o small.pt2 --pixels",
    "export small.safetensors -o folder/",
)


@pytest.mark.parametrize("line", one_in(3, LINES))
def test_commands_refuse_to_read_images_for_it(line, thin, tmp_path, refused, monkeypatch) -> None:
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    prunectl.save(thin, tmp_path / "small.safetensors", model=BUILDER)
    (tmp_path / "image.png").write_bytes(b"")
    assert "prunectl: the checkpoint does not state how its images were normalised" in refused(*line.split())


def test_functions_refuse_to_read_pixels_for_it(thin, tmp_path) -> None:
    path = prunectl.save(thin, tmp_path / "small.safetensors", model=BUILDER)
    for read_pixels in (
        lambda: prunectl.evaluate(thin, dataset()),
        lambda: prunectl.classify(thin, [PIXELS[0]]),
        lambda: prunectl.load(path, pixels=True, trust=True),
    ):
        with pytest.raises(NoNormalisation, match=r"save\(checkpoint, path, mean=..., std=...\)"):
            read_pixels()
    assert prunectl.evaluate(thin, loader(), latency=False)["images"] == 60


def test_a_teacher_or_a_source_without_it_is_refused(thin, tmp_path) -> None:
    prunectl.save(thin, tmp_path / "known.safetensors", model=BUILDER, mean=0.5, std=0.5)
    known = read(tmp_path / "known.safetensors", model=BUILDER)
    from prunectl.robustness.attack import attack
    from prunectl.training.train import train

    with pytest.raises(NoNormalisation):
        train(known, dataset(), prunectl.Recipe(epochs=1), teacher=thin)
    with pytest.raises(NoNormalisation):
        attack(known, dataset(), attack="fgsm", source=thin)


def test_save_states_it(thin, tmp_path, raw, monkeypatch) -> None:
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    path = prunectl.save(thin, tmp_path / "small.safetensors", model=BUILDER)
    prunectl.save(path, path, mean=MEAN, std=STD, force=True)
    head = read_header(path)[0]
    assert (head.mean, head.std, head.normalisation_known) == (MEAN, STD, True)
    expected = prunectl.load(path)(normalised())
    torch.testing.assert_close(prunectl.load(path, pixels=True)(PIXELS / 255), expected, atol=1e-5, rtol=0)
    assert prunectl.classify(path, [PIXELS[3]])[0].name == str(int(expected[3].argmax()))
    assert raw("eval", path.name, "--data", "synthetic", "--no-latency").code == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mean": 0.5}, "pass `mean` and `std` together"),
        ({"mean": (0.5, 0.5), "std": 0.5}, "`mean` takes 1 number or 3"),
        ({"mean": 0.5, "std": 0}, "`std` takes numbers above 0"),
    ],
)
def test_save_refuses_half_of_it(given, message, thin, tmp_path) -> None:
    with pytest.raises(OptionError, match=message):
        prunectl.save(thin, tmp_path / "small.safetensors", **given)
    assert not list(tmp_path.iterdir())


def test_the_header_says_so_in_a_schema_of_its_own(thin, tmp_path) -> None:
    path = prunectl.save(thin, tmp_path / "small.safetensors", model=BUILDER)
    text = read_toc(path).metadata[KEY]
    assert (json.loads(text)["schema"], json.loads(text)["normalisation_known"]) == (3, False)
    assert Header.from_json(text, path).to_json() == text
    with pytest.raises(CheckpointError, match="normalisation_known"):
        Header.from_json(text.replace('"normalisation_known":false', '"normalisation_known":3'), path)
    prunectl.save(thin, path, model=BUILDER, mean=0, std=1, force=True)
    values = json.loads(read_toc(path).metadata[KEY])
    assert values["schema"] == 2 and "normalisation_known" not in values


def test_floats_of_a_data_function_reach_every_network_unchanged(thin, tmp_path) -> None:
    path = prunectl.save(thin, tmp_path / "small.safetensors", model=BUILDER, mean=MEAN, std=STD)
    floats = own_data("mine", ((normalised(), LABELS),) * 2, image_size=None, progress=None)
    assert not floats.preprocessing.known
    network = read(path, model=BUILDER)
    found = prunectl.evaluate(network, floats, latency=False)
    expected = torch.nn.functional.cross_entropy(prunectl.load(path, model=BUILDER)(normalised()), LABELS).detach()
    assert found["loss"] == pytest.approx(float(expected), abs=1e-5)
