"""A function of the user's own returns Datasets, DataLoaders or arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from prunectl.data import own
from prunectl.data.images import ImageData, Images
from prunectl.data.load import load_data
from prunectl.data.loader import FloatImages
from prunectl.data.stream import Stream
from prunectl.errors import DataError, OptionError
from tests.helpers.dataset_files import one_line

# DataLoader forks; Python 3.12 and later say that threads may not survive that, and none of ours is needed there
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


class Pictures(Dataset[Any]):
    """Image i is one colour, 10 i, as `make` makes it; its label is i modulo 2."""

    def __init__(self, count: int, make: Any, **attributes: Any) -> None:
        self.count, self.make = count, make
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> tuple[Any, int]:
        if not 0 <= i < self.count:
            raise IndexError(i)
        return self.make(i), i % 2


def pil(i: int, mode: str = "RGB", size: tuple[int, int] = (4, 4)) -> Image.Image:
    return Image.new("L", size, 10 * i).convert(mode)


def array(i: int) -> np.ndarray:
    return np.full((4, 4, 3), 10 * i, np.uint8)


def tensor(i: int) -> Tensor:
    return torch.full((3, 4, 4), 10 * i, dtype=torch.uint8)


def read(returned: Any, image_size: int | None = None, limit: int | None = None) -> ImageData:
    return own.own_data("own.py:mine", returned, image_size=image_size, progress=None, limit=limit)


def levels(images: Any) -> list[int]:
    pixels = next(images.batches(len(images)))[0]
    assert pixels.eq(pixels[:, :1, :1, :1]).all()
    return [int(level) for level in pixels[:, 0, 0, 0].tolist()]


def whole(make: Any, count: int) -> Any:
    return np.stack([np.asarray(make(i)) for i in range(count)])


LABELS = [0, 1, 0, 1, 0]
FORMS = {
    "PIL": Pictures(5, pil),
    "uint8 tensors": Pictures(5, tensor),
    "uint8 arrays": Pictures(5, array),
    "a Subset": Subset(Pictures(9, pil), range(5)),
    "a DataLoader": DataLoader(Pictures(5, tensor), batch_size=2),
    "a DataLoader of channels last": DataLoader(Pictures(5, array), batch_size=2),
    "batches without an end in sight": (batch for batch in [(whole(array, 5), LABELS)]),
    "an array": (whole(array, 5), LABELS),
    "an array of channels first": (whole(tensor, 5), np.array(LABELS)),
    "a tensor": (torch.from_numpy(whole(tensor, 5)), torch.tensor(LABELS)),
    "a tensor of channels last": (torch.from_numpy(whole(array, 5)), torch.tensor(LABELS)[:, None]),
    "a list of PIL": ([pil(i) for i in range(5)], LABELS),
    "a list of arrays": [[array(i) for i in range(5)], np.array(LABELS, np.uint8)],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_brings_the_same_images(form: str) -> None:
    data = read((FORMS[form], (whole(array, 3), [1, 1, 1])))
    assert isinstance(data.train, Images)
    assert not isinstance(data.train, FloatImages)
    assert (data.shape, data.name, data.classes) == ((3, 4, 4), "mine", ("0", "1"))
    assert (levels(data.train), data.train.labels.tolist()) == ([0, 10, 20, 30, 40], LABELS)
    assert (levels(data.test), data.test.labels.tolist()) == ([0, 10, 20], [1, 1, 1])
    assert data.preprocessing.mean == (0.0784,) * 3  # 20 of 255
    assert data.augment == ()


@pytest.mark.parametrize(
    "form",
    [
        Pictures(5, lambda i: tensor(i).float()),
        Pictures(5, lambda i: tensor(i).double().numpy()),
        DataLoader(Pictures(5, lambda i: tensor(i).half()), batch_size=2),
        TensorDataset(torch.from_numpy(whole(tensor, 5)).float(), torch.tensor(LABELS)),
        (whole(array, 5).astype(np.float64), LABELS),
    ],
)
def test_floats_are_what_the_network_gets(form: Any) -> None:
    data = read((form, form))
    assert isinstance(data.train, FloatImages)
    assert (data.preprocessing.mean, data.preprocessing.std) == ((0.0,) * 3, (1.0,) * 3)
    found = data.preprocessing(data.train.pixels)
    assert torch.allclose(found[:, 0, 0, 0], torch.tensor([0.0, 10, 20, 30, 40]), rtol=1e-6)
    assert data.test.labels.tolist() == LABELS


def test_gray_arrays_without_an_axis_of_channels() -> None:
    data = read(((whole(lambda i: array(i)[..., 0], 5), LABELS), Pictures(3, lambda i: tensor(i)[0])))
    assert (data.shape, levels(data.train), levels(data.test)) == ((1, 4, 4), [0, 10, 20, 30, 40], [0, 10, 20])


def test_gray_pil_images_stay_gray_where_all_are() -> None:
    gray = Pictures(5, lambda i: pil(i, "L"))
    assert read((gray, gray)).shape == (1, 4, 4)
    assert read((gray, Pictures(5, pil))).shape == (3, 4, 4)


def test_pil_images_become_squares_as_those_of_a_folder() -> None:
    wide = Image.new("L", (8, 4))
    wide.paste(255, (2, 0, 6, 4))
    data = read((Pictures(3, lambda i: wide), Pictures(2, lambda i: pil(i, "L", (6, 9)))))
    assert (data.shape, levels(data.train), levels(data.test)) == ((1, 4, 4), [255] * 3, [0, 10])


@pytest.mark.parametrize("make", [pil, array, tensor])
def test_the_image_size_is_a_choice_for_pixels(make: Any) -> None:
    assert read((Pictures(3, make), Pictures(2, make)), image_size=7).shape == (3, 7, 7)
    arrays = whole(make, 3), [0, 1, 0]
    assert read((arrays, arrays), image_size=7).shape == (3, 7, 7)


@pytest.mark.parametrize("make", [pil, array, tensor])
def test_what_does_not_fit_is_read_when_it_is_needed(make: Any) -> None:
    pictures = Pictures(9, make), Pictures(4, make)
    memory, stream = read(pictures), read(pictures, limit=600)
    assert isinstance(stream.train, Stream)
    assert isinstance(stream.test, Stream)
    assert stream.preprocessing.mean == (0.485, 0.456, 0.406)
    options: dict[str, Any] = {"seed": 3, "augment": ("flip", "crop")}
    for one, other in ((memory.train, stream.train), (memory.test, stream.test)):
        for (pixels, labels), (read_anew, same_labels) in zip(
            one.batches(4, **options), other.batches(4, **options), strict=True
        ):
            assert pixels.equal(read_anew)
            assert labels.equal(same_labels)


def test_a_stream_of_two_channels_is_measured() -> None:
    two = Pictures(300, lambda i: torch.tensor([0, 51], dtype=torch.uint8)[:, None, None].expand(2, 4, 4))
    assert read((two, two), limit=0).preprocessing.mean == (0.0, 0.2)


def test_labels_come_from_targets_where_they_are_the_same() -> None:
    opened: list[int] = []

    def make(i: int) -> Image.Image:
        opened.append(i)
        return pil(i % 20)

    labels = [i % 2 for i in range(400)]
    data = read((Pictures(400, make, targets=labels), Pictures(2, pil)), limit=0)
    assert data.train.labels.tolist() == labels
    assert len(opened) < 60  # probes, not all
    other = Pictures(400, make, targets=[1 - label for label in labels])  # before a target_transform
    assert read((other, Pictures(2, pil)), limit=0).train.labels.tolist() == labels
    assert len(opened) > 400


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: Subset(x, [0, 1]), lambda x: DataLoader(Subset(x, [1, 0]))])
def test_class_names_are_those_of_the_dataset(wrap: Any) -> None:
    named = Pictures(2, tensor, classes=["cat", "dog", "eel"])
    assert read((wrap(named), named)).classes == ("cat", "dog", "eel")
    synonyms = Pictures(2, tensor, classes=[("tench", "Tinca tinca"), ("goldfish",)])  # as torchvision's ImageNet has
    assert read((wrap(synonyms), named)).classes == ("tench", "goldfish")
    assert read((wrap(Pictures(2, tensor, classes=["one"])), named)).classes == ("0", "1")


def test_shuffling_loaders_bring_one_order() -> None:
    def loader() -> DataLoader[Any]:
        return DataLoader(Pictures(20, tensor), batch_size=3, shuffle=True)

    before = torch.get_rng_state()
    first, again = (read((loader(), loader())) for _ in range(2))
    assert levels(first.train) == levels(again.train) != sorted(levels(first.train))
    assert sorted(levels(first.train)) == [10 * i for i in range(20)]
    assert torch.get_rng_state().equal(before)


class Broken(Pictures):
    def __getitem__(self, i: int) -> tuple[Any, int]:
        if i == 3:
            raise ValueError("no such picture\nand more")
        return super().__getitem__(i)


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([])


GOOD = Pictures(3, tensor)
REFUSED: list[tuple[Any, str]] = [
    (None, "expected the function to return ImageData, or (train, test), "),
    (GOOD, "a DataLoader or (images, labels), found a Pictures; such as `return CIFAR10('.', train=True), "),
    ((GOOD,), "found a tuple of 1; such as"),
    ((GOOD, None), "found a NoneType; such as"),
    (("train", "test"), "found a str; such as"),
    ((whole(array, 3), [0, 1, 0]), "found uint8 (3, 4, 4, 3); such as"),
    ((GOOD, (GOOD, GOOD, GOOD)), "found a tuple of 3; such as"),
    ((GOOD, ("a", "b")), "found a tuple of 2; such as"),
    ((GOOD, (whole(array, 3), 0)), "found a tuple of 2; such as"),
    ((GOOD, Endless()), "test: found an IterableDataset; put a DataLoader around it"),
    ((GOOD, Pictures(0, tensor)), "test has no item; expected images with labels"),
    ((GOOD, DataLoader(Endless())), "test: no batch; expected (images, labels)"),
    ((GOOD, (whole(array, 3), [0, 1])), "test has 3 images and 2 labels; expected one for each"),
    ((GOOD, (whole(array, 3), [0.5, 1, 0])), "test: labels are float64 (3,), expected whole numbers (N,)"),
    ((GOOD, (whole(array, 3), np.eye(3, dtype=int))), "test: labels are int64 (3, 3), expected whole numbers (N,)"),
    ((GOOD, (whole(array, 3).astype(int), [0, 1, 0])), "found int64 (3, 4, 4, 3); expected images of uint8 or floats"),
    ((GOOD, (np.zeros((3, 9, 9, 9), np.uint8), [0, 1, 0])), "found uint8 (3, 9, 9, 9); expected images (N, H, W), "),
    ((GOOD, DataLoader(Broken(5, tensor))), "test: ValueError: no such picture"),
    ((GOOD, [(tensor(0)[None], [0]), (tensor(0)[None], [0]), (1, 2)]), "found a list of 3; such as"),
    ((GOOD, iter([{"x": 1}])), "test: expected batches (images, labels), found a dict of 1"),
    ((GOOD, iter([(whole(array, 3), [0] * 3), (whole(array, 3)[:, :2], [0] * 3)])), "expected one shape and type"),
    ((Broken(5, tensor), GOOD), "train, item 3: ValueError: no such picture"),
    ((Pictures(3, lambda i: "a.jpg"), GOOD), "found a str; expected a PIL image, or an array "),
    (
        (Pictures(3, lambda i: tensor(i)[:, : 4 - i]), GOOD),
        "train, item 1: found uint8 (3, 3, 4), expected (3, 4, 4) like",
    ),
    ((Pictures(3, lambda i: tensor(i).long()), GOOD), "found int64 (1, 3, 4, 4); expected images of uint8 or floats"),
    (
        (Pictures(3, lambda i: [tensor, array, pil][i](i)), GOOD),
        "train, item 2: found a Image beside arrays; expected ",
    ),
    ((Pictures(3, pil), GOOD), "test, item 0: found uint8 (3, 4, 4) beside PIL images; expected one kind"),
    (
        (Pictures(3, lambda i: tensor(i).float()), GOOD),
        "test, item 0: found uint8 (3, 4, 4) beside floats; expected one",
    ),
    (((whole(array, 3) / 255, [0, 1, 0]), GOOD), "one of train and test has floats, the other uint8"),
    (
        (TensorDataset(torch.zeros(3, 1, 4, 4), torch.zeros(3)), GOOD),
        "item 0: expected a whole number as label, found ",
    ),
    ((TensorDataset(torch.zeros(3, 1, 4, 4)), GOOD), "train, item 0: expected (image, label), found a tuple of 1"),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_what_is_wrong_is_one_line(case: int) -> None:
    returned, message = REFUSED[case]
    with pytest.raises(DataError) as error:
        read(returned)
    assert message in one_line(error)
    assert one_line(error).startswith("`data` own.py:mine")


def test_a_failure_in_a_worker_is_one_line() -> None:
    labels = [i % 2 for i in range(64)]
    data = read((Broken(64, lambda i: tensor(i % 9), targets=labels), GOOD), limit=0)  # item 3 is no probe
    with pytest.raises(DataError) as error:
        list(data.train.batches(16))
    assert one_line(error) == "`data` own.py:mine: train, item 3: ValueError: no such picture"


@pytest.mark.parametrize("form", [Pictures(3, lambda i: tensor(i).float()), (whole(array, 3) / 255, [0, 1, 0])])
def test_floats_are_not_resized(form: Any) -> None:
    assert read((form, form), image_size=4).shape == (3, 4, 4)
    with pytest.raises(DataError, match="`image_size` resizes"):
        read((form, form), image_size=5)


def test_floats_and_batches_must_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "MOST_BYTES", 500)
    for form in (Pictures(3, lambda i: tensor(i).float()), DataLoader(Pictures(11, tensor), batch_size=2)):
        with pytest.raises(DataError) as error:
            read((form, form))
        assert "return Datasets of PIL or uint8 images, which are read on demand" in one_line(error)


FILE = """
import numpy as np
from torch.utils.data import DataLoader

def arrays():
    return (np.zeros((6, 4, 4), np.uint8), [0, 1] * 3), (np.zeros((2, 4, 4), np.uint8), [0, 1])

def with_defaults(size=5):
    return (np.zeros((6, size, size), np.uint8), [0, 1] * 3), (np.zeros((2, size, size), np.uint8), [0, 1])

def ours(root, *, image_size, download, progress):
    return with_defaults(image_size)

def other(folder, size):
    raise AssertionError

number = 3
"""


def test_functions_of_nothing_and_of_ours(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(FILE)
    spec = f"{tmp_path}/own.py"
    data = load_data(f"{spec}:arrays")
    assert (data.shape, data.described) == ((1, 4, 4), {"name": "arrays", "source": f"{spec}:arrays"})
    assert load_data(f"{spec}:with_defaults").shape == (1, 5, 5)
    assert load_data(f"{spec}:with_defaults", image_size=6).shape == (1, 6, 6)
    assert load_data(f"{spec}:ours", image_size=7).shape == (1, 7, 7)
    with pytest.raises(OptionError) as error:
        load_data(f"{spec}:other")
    assert "a function without parameters, or of (root, *, image_size, download, progress), found (folder, size)" in (
        one_line(error)
    )
    with pytest.raises(OptionError, match="expected a function, found a int"):
        load_data(f"{spec}:number")


def test_progress_is_reported() -> None:
    seen: list[tuple[int, int]] = []
    own.own_data(
        "own.py:mine",
        (Pictures(300, lambda i: tensor(1)), GOOD),
        image_size=None,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(128, 300), (256, 300), (300, 300), (3, 3)]
