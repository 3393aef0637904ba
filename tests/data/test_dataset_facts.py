"""What `prunectl datasets NAME` says of a dataset is what its loader brings."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from prunectl.data.images import ImageData
from prunectl.data.load import load_data
from prunectl.data.sets import cifar, imagenette, omniglot, svhn
from prunectl.plugins.dataset_facts import DATASETS, DatasetFacts
from prunectl.plugins.registry import TABLES
from tests.helpers.dataset_files import write_family, write_tree


def test_every_dataset_has_facts() -> None:
    assert DATASETS.keys() == TABLES["data"].keys(), "add its facts in prunectl/plugins/dataset_facts.py"


def _check(data: ImageData, facts: DatasetFacts) -> None:
    assert facts.shape in (None, data.shape)
    assert facts.classes in (None, len(data.classes))
    assert facts.augment == data.augment
    if facts.mean:
        assert (facts.mean, facts.std) == (data.preprocessing.mean, data.preprocessing.std)


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_those_without_files(name: str) -> None:
    data, facts = load_data(name), DATASETS[name]
    _check(data, facts)
    assert (len(data.train), len(data.test)) == (facts.train, facts.test)


@pytest.mark.parametrize("name", ["mnist", "fashionmnist", "kmnist"])
def test_the_mnist_family(name: str, tmp_path: Path) -> None:
    write_family(tmp_path / DATASETS[name].files.split()[0])
    _check(load_data(name, tmp_path), DATASETS[name])


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_those_of_torchvision(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sides = (2, 3, 32, 32) if name == "svhn" else (2, 32, 32, 3)
    classes = [str(i) for i in range(100 if name == "cifar100" else 10)]
    part = SimpleNamespace(data=np.zeros(sides, np.uint8), targets=[0, 1], labels=[0, 1], classes=classes)
    for module in (cifar, svhn):
        monkeypatch.setattr(module, "opened", lambda *_: (part, part))
    _check(load_data(name, tmp_path), DATASETS[name])


def test_folders(tmp_path: Path) -> None:
    place = tmp_path / DATASETS["imagenette"].files
    write_tree(place, classes=tuple(imagenette.CLASSES), test="val")
    _check(load_data("imagenette", tmp_path), DATASETS["imagenette"])
    _check(load_data(f"imagefolder:{place}"), DATASETS["imagefolder"])
    write_tree(tmp_path / "gray", mode="L")
    assert load_data(f"imagefolder:{tmp_path}/gray").augment == ()  # "colour images only"


def test_omniglot_is_counted() -> None:
    facts = DATASETS["omniglot"]
    assert facts.classes == omniglot.CHARACTERS
    assert facts.train == omniglot.CHARACTERS * omniglot.TRAIN_DRAWINGS
    assert facts.train + facts.test == omniglot.CHARACTERS * omniglot.DRAWINGS


def test_a_function_of_your_own_is_not_augmented(tmp_path: Path) -> None:
    from prunectl.data.own import own_data

    pair = (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))
    for name in ("hf", "webdataset"):  # which bring their images the same way
        assert own_data("own.py:f", (pair, pair), image_size=None, progress=None).augment == DATASETS[name].augment
