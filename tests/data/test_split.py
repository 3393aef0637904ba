"""A folder without test images holds out a share of each class, the same for every command."""

from pathlib import Path

import pytest
from PIL import Image

from prunectl.data.load import load_data
from prunectl.data.sets.imagefolder import imagefolder
from prunectl.data.split import held_out, held_out_of_classes
from prunectl.errors import DataError, OptionError
from tests.helpers.dataset_files import one_line, write_tree

# DataLoader forks; Python 3.12 and later say that threads may not survive that, and none of ours is needed there
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def write_flat(root: Path, **counts: int) -> Path:
    """CLASS/0.png and so on, each image of a brightness of its own."""
    level = 0
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            level += 1
            Image.new("RGB", (4, 4), (level,) * 3).save(root / name / f"{i}.png")
    return root


def test_a_tenth_of_each_class_is_held_out(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    write_flat(root / "train", cat=30, dog=10)
    data = load_data(f"imagefolder:{root}")
    assert (data.train.labels.bincount().tolist(), data.test.labels.bincount().tolist()) == ([27, 9], [3, 1])
    assert data.described == {"name": "pets", "source": f"imagefolder:{root}", "split": 0.1}
    assert data.notices == (f"{root} has neither test/ nor val/: 10% of each class is held out (--split)",)
    seen = sorted([*data.train.pixels[:, 0, 0, 0].tolist(), *data.test.pixels[:, 0, 0, 0].tolist()])
    assert seen == list(range(1, 41))  # every image once
    again = load_data(f"imagefolder:{root}")
    assert again.test.pixels.equal(data.test.pixels)
    stream = imagefolder(root, image_size=None, download=False, progress=None, limit=0)
    assert next(stream.test.batches(9))[0].equal(data.test.pixels)
    assert stream.changes == (("split", 0.1),)


def test_a_larger_share_holds_out_the_same_and_more() -> None:
    names = [f"a/{i}.jpg" for i in range(100)]
    (train, few), (_, many) = (held_out(names, share) for share in (0.1, 0.5))
    assert (len(train), len(few), len(many)) == (90, 10, 50)
    assert set(few) < set(many)
    assert sorted(train + few) == list(range(100))
    assert few == [14, 15, 35, 42, 45, 53, 61, 63, 68, 85]  # on every machine


def test_one_new_file_moves_at_most_one_other() -> None:
    names = [f"{i}.jpg" for i in range(100)]
    before, after = ({each[i] for i in held_out(each, 0.1)[1]} for each in (names, [*names, "new.jpg"]))
    assert len(before - after) <= 1


@pytest.mark.parametrize(
    ("count", "share", "held"), [(1, 0.9, 0), (2, 0.01, 1), (2, 0.99, 1), (5, 0.5, 3), (10, 0.04, 1)]
)
def test_both_sides_keep_an_image(count: int, share: float, held: int) -> None:
    train, test = held_out([str(i) for i in range(count)], share)
    assert (len(train), len(test)) == (count - held, held)


def test_the_place_of_a_tree_does_not_matter(tmp_path: Path) -> None:
    here, there = (write_flat(tmp_path / name / "pets", cat=30, dog=30) for name in ("a", "b"))
    one, other = (load_data(f"imagefolder:{root}") for root in (here, there))
    assert one.test.pixels.equal(other.test.pixels)


def test_labels_are_split_class_by_class() -> None:
    labels = [0, 1, 1, 1, 0, 2]
    train, test = held_out_of_classes(list("abcdef"), labels, 0.3)
    assert sorted(labels[i] for i in test) == [0, 1]
    assert sorted(train + test) == list(range(6))


def test_a_named_folder_may_lack_train_as_well(tmp_path: Path) -> None:
    root = write_flat(tmp_path / "pets", cat=4, dog=1)
    data = load_data(f"imagefolder:{root}", split=0.5)
    assert (data.classes, len(data.train), len(data.test)) == (("cat", "dog"), 3, 2)
    assert data.notices == (f"{root}: 1 of 2 classes have no test images (dog)",)
    with pytest.raises(DataError, match="no image folder at"):
        load_data("imagefolder", root)  # a folder of many datasets is no dataset
    with pytest.raises(DataError, match="no image folder at"):
        load_data(f"imagefolder:{write_flat(tmp_path / 'one', cat=4)}")


def test_where_a_split_has_no_place(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets")
    with pytest.raises(DataError) as error:
        load_data(f"imagefolder:{root}", split=0.2)
    assert one_line(error) == f"`split` 0.2: {root} has its own test images; leave out `split`"
    with pytest.raises(OptionError) as refused:
        load_data("digits", split=0.2)
    assert one_line(refused) == "`split` 0.2: digits has test images; leave out `split`"
    for share in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(OptionError, match=r"takes a share of the images in \(0, 1\), such as 0.1"):
            load_data(f"imagefolder:{root}", split=share)
