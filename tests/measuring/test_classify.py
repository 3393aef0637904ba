"""Image files are classified as the checkpoint says: names, size, mean and std; by function, command and network."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import prunectl
from prunectl.checkpoints.header import Resize
from prunectl.data.load import load_data
from prunectl.errors import DataError
from prunectl.measuring.classify import pixels_of
from tests.helpers.running import run_cli

FORMATS = ("png", "jpg", "bmp", "gif", "tif", "webp", "ppm")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A network that has learnt the digits."""
    folder = tmp_path_factory.mktemp("trained")
    ran = run_cli(folder, "train", "--model", "lenet300", "--epochs", 4, "--device", "cpu", "-o", "net.safetensors")
    assert ran.code == 0, ran.err
    return folder / "net.safetensors"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> tuple[Path, list[int]]:
    """50 digits in seven formats and several sizes, in folders of mixed depth, with their labels in order of names."""
    folder = tmp_path_factory.mktemp("pictures")
    test = load_data("digits").test
    labels = []
    for i in range(50):
        pixels, label = test.pixels[i], int(test.labels[i])
        side = (28, 56, 84)[i % 3]
        place = folder / ("" if i % 2 else "deep") / f"{i:02}.{FORMATS[i % len(FORMATS)]}"
        place.parent.mkdir(exist_ok=True)
        big = Image.fromarray(pixels[0].numpy()).resize((side, side), Image.Resampling.NEAREST)
        (big.convert("RGB") if i % 4 == 0 else big).save(place)
        labels.append((place, label))
    return folder, [label for _, label in sorted(labels)]


def test_a_folder_of_mixed_files_is_classified(trained, pictures, raw) -> None:
    folder, labels = pictures
    ran = raw("predict", trained, folder)
    assert ran.code == 0, ran.err
    records = [json.loads(line) for line in ran.out.splitlines()]
    assert [Path(r["file"]).name for r in records] == [p.name for p in sorted(folder.rglob("*.*"))]
    right = sum(r["class"] == str(label) for r, label in zip(records, labels, strict=True))
    assert right >= 40
    assert all(len(r["top"]) == 5 and r["top"][0]["probability"] == r["probability"] for r in records)
    assert all(0 < r["probability"] <= 1 for r in records)


def test_command_function_and_network_agree(trained, pictures, raw) -> None:
    folder, _ = pictures
    files = sorted(p for p in folder.rglob("*.*") if p.is_file())
    found = prunectl.classify(trained, files, top=10)
    records = [json.loads(line) for line in raw("predict", trained, folder, "-k", 10).out.splitlines()]
    assert [(p.name, p.probability) for p in found] == [(r["class"], r["probability"]) for r in records]
    net = prunectl.load(trained, pixels=True)
    pixels = torch.stack([pixels_of(file, (1, 28, 28), Resize(28)) for file in files])
    with torch.no_grad():
        probabilities = net(pixels).softmax(1)
    ours = torch.tensor([[dict(p.top)[str(i)] for i in range(10)] for p in found])
    assert (probabilities - ours).abs().max() < 1e-5


@pytest.mark.long
@pytest.mark.parametrize("more", [[], ["--pixels", "--softmax"]], ids=["input", "pixels"])
def test_an_onnx_file_classifies_the_same(trained, pictures, raw, tmp_path, more) -> None:
    folder, _ = pictures
    assert raw("export", trained, "-o", "net.onnx", *more).code == 0
    ours = [json.loads(line) for line in raw("predict", trained, folder).out.splitlines()]
    theirs = [json.loads(line) for line in raw("predict", "net.onnx", folder).out.splitlines()]
    assert [r["class"] for r in ours] == [r["class"] for r in theirs] and len(ours) == 50
    assert max(abs(a["probability"] - b["probability"]) for a, b in zip(ours, theirs, strict=True)) < 1e-5


def test_an_onnx_file_that_does_not_say_its_use_is_one_line(refused, pictures, tmp_path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    assert "broken.onnx is not an ONNX file" in refused("predict", "broken.onnx", pictures[0])
    assert "cannot read missing.onnx" in refused("predict", "missing.onnx", pictures[0])


@pytest.mark.long
def test_an_onnx_file_that_lies_about_its_use_is_one_line(trained, refused, pictures, raw, tmp_path) -> None:
    assert raw("export", trained, "-o", "net.onnx").code == 0
    whole = onnx.load(tmp_path / "net.onnx")
    lies = {"mean": "3", "std": "[0]", "names": '["a"]', "resize": '{"size": 28, "crop": -1}', "output": None}
    for key, lie in lies.items():
        kept = {entry.key: entry.value for entry in whole.metadata_props if entry.key != key}
        evil = onnx.ModelProto.FromString(whole.SerializeToString())
        onnx.helper.set_model_props(evil, kept if lie is None else {**kept, key: lie})
        onnx.save(evil, tmp_path / "evil.onnx")
        line = refused("predict", "evil.onnx", pictures[0])
        assert "evil.onnx does not say how images become its input (" in line


def test_pixels_and_normalised_images_give_the_same_logits(trained) -> None:
    test = load_data("digits").test
    data = load_data("digits")
    pixels, bare = prunectl.load(trained, pixels=True), prunectl.load(trained)
    with torch.no_grad():
        a, b = pixels(test.pixels.float() / 255), bare(data.preprocessing(test.pixels))
    assert (a - b).abs().max() < 1e-4
    assert (a.argmax(1) == test.labels).float().mean() > 0.9


def test_a_file_that_is_no_image_is_named_and_the_others_go_on(trained, pictures, raw, tmp_path) -> None:
    folder, _ = pictures
    (tmp_path / "broken.png").write_bytes(b"no image")
    good = next(folder.glob("*.png"))
    ran = raw("predict", trained, tmp_path / "broken.png", good, tmp_path / "missing.png")
    assert ran.code == 1
    assert [json.loads(line)["file"] for line in ran.out.splitlines()] == [str(good)]
    lines = ran.err.splitlines()
    assert len(lines) == 3 and "broken.png: expected a whole image" in lines[0]
    assert "missing.png: expected a whole image, found: no such file or directory; replace" in lines[1]
    assert lines[2] == "prunectl: 2 files of 3 could not be read as images"


def test_paths_come_from_stdin_and_rows_go_to_csv(trained, pictures, raw) -> None:
    folder, _ = pictures
    files = sorted(folder.glob("*.png"))
    ran = raw("predict", trained, "-", "--csv", stdin="\n".join(map(str, files)) + "\n")
    rows = list(csv.reader(io.StringIO(ran.out)))
    assert rows[0] == ["file", "class", "probability"]
    assert [row[0] for row in rows[1:]] == [str(file) for file in files]


def test_a_folder_without_files_is_one_line(trained, refused, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no image in empty" in refused("predict", trained, "empty")


def test_the_middle_is_cropped_as_the_rule_says() -> None:
    """Of a 40 x 20 picture, crop 0.5 takes the middle 10 x 10; without a rule the whole picture is squeezed."""
    array = np.zeros((20, 40), dtype=np.uint8)
    array[5:15, 15:25] = 255
    image = Image.fromarray(array)
    assert pixels_of(image, (1, 10, 10), Resize(10, 0.5, "nearest")).mean() == 1
    assert pixels_of(image, (1, 20, 40), None).mean() == pytest.approx(100 / 800)
    assert pixels_of(image, (3, 20, 20), Resize(20)).shape == (3, 20, 20)


def test_exif_rotation_is_applied(tmp_path) -> None:
    array = np.zeros((8, 8), dtype=np.uint8)
    array[:4] = 255  # bright on top
    exif = Image.Exif()
    exif[0x0112] = 3  # rotated by 180 degrees
    Image.fromarray(array).save(tmp_path / "turned.png", exif=exif)
    pixels = pixels_of(tmp_path / "turned.png", (1, 8, 8), None)
    assert pixels[0, :4].max() == 0 and pixels[0, 4:].min() == 1


@pytest.mark.parametrize("image", [3, torch.zeros(1, 5, 5), np.zeros((28, 28))], ids=["number", "shape", "array"])
def test_what_is_no_image_is_one_line(trained, image) -> None:
    with pytest.raises(DataError, match=r"expected a path, a PIL image or pixels \(1, 28, 28\)"):
        prunectl.classify(trained, [image])


def test_class_names_come_from_the_data_and_stay(trained, raw) -> None:
    seen = json.loads(raw("inspect", trained, "--json").out)
    assert seen["names"] == [str(i) for i in range(10)] and seen["resize"]["size"] == 28
    pruned = prunectl.prune(trained, criterion="magnitude", sparsity=0.5)
    assert pruned.names == tuple(seen["names"]) and pruned.resize == Resize(28)
