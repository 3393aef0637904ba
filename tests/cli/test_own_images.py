"""Images of the user's own on the command line: folders, what is said of them, how they are split, and functions."""

import json
import shlex
from pathlib import Path

import pytest
import torch
from PIL import Image

from prunectl.checkpoints.lineage import lineage
from tests.helpers.dataset_files import write_tree

# DataLoader forks; Python 3.12 and later say that threads may not survive that, and none of ours is needed there
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """pets/cat and pets/dog with ten images each, of 4x4."""
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (4, 4), (20 * i, 0, 255 * (name == "cat"))).save(tmp_path / "pets" / name / f"{i}.png")
    return tmp_path / "pets"


TRAIN = "train --model logistic-regression --data imagefolder:pets --epochs 1 -b 4 -o net.safetensors"


def test_every_command_sees_the_split_of_the_training(flat, raw, cli, refused):
    cli(*shlex.split(f"{TRAIN} --split 0.3"))
    evaluated = json.loads(cli("eval", "net.safetensors", "--no-latency", "--json"))
    assert (evaluated["images"], evaluated["data"]["split"]) == (6, 0.3)
    cli("prune", "net.safetensors", "-c", "snip", "-b", "4")
    attacked = json.loads(cli("attack", "net.prune.safetensors", "-a", "fgsm", "--json"))
    assert (attacked["images"], attacked["data"]["split"]) == (6, 0.3)
    assert "this network was made with --split 0.3 of the same images" in refused(
        "eval", "net.safetensors", "--split", "0.5"
    )
    step = lineage(flat.parent / "net.prune.safetensors")[1]
    assert "--split=0.3" in step.arguments
    cli("rerun", "net.prune.safetensors")  # the same bytes


def test_a_folder_without_tests_is_split_and_says_so(flat, raw):
    ran = raw(*shlex.split(TRAIN))
    assert ran.code == 0
    assert "warning: pets has neither test/ nor val/: 10% of each class is held out (--split)\n" in ran.err


def test_the_default_augmentation_is_printed_with_how_to_turn_it_off(flat, raw):
    said = "augmentation: flip (default of pets; --augment none turns it off)\n"
    assert said in raw(*shlex.split(TRAIN)).err
    for chosen in ("none", "flip"):
        assert "augmentation: " not in raw(*shlex.split(f"{TRAIN} --force --augment {chosen}")).err


def test_warnings_name_what_is_not_used(tmp_path, raw):
    write_tree(tmp_path / "pets")
    (tmp_path / "pets" / "train" / "eel").mkdir()
    (tmp_path / "pets" / "train" / "eel" / "0.heic").write_bytes(b"")
    ran = raw(*shlex.split(TRAIN))
    assert (ran.code, ran.out) == (0, "net.safetensors\n")
    assert "warning: pets/train: 1 class has no readable image and is left out (eel)\n" in ran.err
    assert "warning: pets/train: skipped 1 file that is not an image (eel/0.heic)\n" in ran.err


def test_an_interrupted_training_keeps_its_split(flat, cli):
    cli(*shlex.split(f"{TRAIN} --split 0.3 --epochs 3 --max-minutes 0"))
    cli("train", "--resume", "net.resume.safetensors")
    assert json.loads(cli("eval", "net.safetensors", "--no-latency", "--json"))["images"] == 6


def test_the_rule_of_a_checkpoint_reads_its_images(tmp_path, cli):
    from dataclasses import replace

    from prunectl.checkpoints.checkpoint import read, write
    from prunectl.checkpoints.header import Resize
    from prunectl.cli.start import images_for

    root = write_tree(tmp_path / "pets", size=(32, 32))
    ring = Image.new("RGB", (32, 32), (255,) * 3)
    ring.paste((10, 10, 10), (2, 2, 30, 30))
    ring.save(root / "test" / "cat" / "0.png")
    cli(*shlex.split(f"{TRAIN} --image-size 8"))
    made = read(tmp_path / "net.safetensors")
    write(replace(made, resize=Resize(8, 0.5, "bicubic")), tmp_path / "rule.safetensors")
    place = f"imagefolder:{root}"
    assert not images_for(made, place, None).test.take(torch.tensor([0])).pixels.eq(10).all()
    assert images_for(read(tmp_path / "rule.safetensors"), place, None).test.take(torch.tensor([0])).pixels.eq(10).all()


@pytest.mark.long
def test_the_library_warns_too(tmp_path):
    import prunectl

    root = write_tree(tmp_path / "pets")
    (root / "train" / "cat" / "a.txt").write_text("")
    from prunectl.data.load import load_data
    from prunectl.models.fresh import fresh

    begun = fresh("logistic-regression", load_data(f"imagefolder:{root}"), source=f"imagefolder:{root}")
    with pytest.warns(UserWarning, match=r"skipped 1 file that is not an image \(cat/a.txt\)"):
        prunectl.evaluate(begun, f"imagefolder:{root}")


PICTURES = """
import numpy as np
from PIL import Image
from torch.utils.data import Dataset

class Pictures(Dataset):
    classes = ["dark", "light"]

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        return Image.new("L", (6, 6), 40 + 10 * (i % 5) + 120 * (i % 2)), i % 2

def pictures():
    return Pictures(200), Pictures(40)

def wrong():
    return Pictures(200)
"""


def test_a_dataset_in_a_file_goes_all_the_way(tmp_path, cli, refused, monkeypatch):
    from prunectl.checkpoints.checkpoint import read

    (tmp_path / "own.py").write_text(PICTURES)
    made = "train --model logistic-regression --data own.py:pictures --epochs 4 --lr 0.05 -b 20 -o net.safetensors"
    cli(*shlex.split(made))
    assert read(tmp_path / "net.safetensors").names == ("dark", "light")
    cli("prune", "net.safetensors", "--data", "own.py:pictures", "-c", "snip", "-s", "0.5")
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    evaluated = json.loads(cli("eval", "net.prune.safetensors", "--no-latency", "--json"))
    assert (evaluated["accuracy"], evaluated["images"]) == (1.0, 40)
    assert evaluated["data"] == {"name": "pictures", "source": "own.py:pictures"}
    cli(*shlex.split(f"{made.replace('net.', 'small.')} --image-size 4"))
    small = json.loads(cli("eval", "small.safetensors", "--no-latency", "--json"))
    assert small["accuracy"] == 1.0  # PIL images take the size of the network
    assert "found a Pictures; such as `return CIFAR10(" in refused("eval", "net.safetensors", "--data", "own.py:wrong")
