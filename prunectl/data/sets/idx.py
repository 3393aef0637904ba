"""The MNIST family: 60,000 training and 10,000 test images of 28x28, in four IDX files each.

MNIST (LeCun et al. 1998), Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747) and Kuzushiji-MNIST (Clanuwat et al. 2018,
arXiv:1812.01718). torchvision's reader accepts only files with
known checksums; this one reads every copy that is a sound IDX file.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from prunectl.data.fetch import fetch
from prunectl.data.images import ImageData, Images, Preprocessing
from prunectl.data.pixels import resized
from prunectl.data.source import Progress, missing
from prunectl.errors import DataError

DEBIAN = Path("/usr/share/dataset/fashion-mnist")  # of the package dataset-fashion-mnist

_DIGITS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
_CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


def mnist(
    root: Path, *, image_size: int | None, download: bool, progress: Progress | None, direct: bool = False
) -> ImageData:
    """Handwritten digits (LeCun et al. 1998): 60,000 for training and 10,000 for testing, 28x28, 10 classes.

    `direct` also looks for the files in `root` itself.
    """
    folder = _folder("MNIST", root, direct, download)
    return _data("mnist", folder, _DIGITS, Preprocessing((0.1307,), (0.3081,)), image_size)


def fashionmnist(
    root: Path, *, image_size: int | None, download: bool, progress: Progress | None, direct: bool = False
) -> ImageData:
    """Clothes (Xiao et al. 2017): 60,000 for training and 10,000 for testing, 28x28, 10 classes.

    `direct` also looks for the files in `root` itself; without it, a copy that Debian installed is used, too.
    """
    folder = _folder("FashionMNIST", root, direct, download, *(() if direct else (DEBIAN,)))
    return _data("fashionmnist", folder, _CLOTHES, Preprocessing((0.2860,), (0.3530,)), image_size)


def kmnist(
    root: Path, *, image_size: int | None, download: bool, progress: Progress | None, direct: bool = False
) -> ImageData:
    """Cursive Japanese characters (Clanuwat et al. 2018): 60,000 for training, 10,000 for testing, 28x28, 10 classes.

    `direct` also looks for the files in `root` itself.
    """
    folder = _folder("KMNIST", root, direct, download)
    return _data("kmnist", folder, _KANA, Preprocessing((0.1918,), (0.3483,)), image_size)


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Read unsigned bytes from an IDX file, gzipped or not: uint8 of that many dimensions.

    Raises:
        DataError: it is another kind of file, or incomplete.
    """
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: expected a readable IDX file, found: {error}; replace it") from error
    magic, head = 0x0800 + dimensions, 4 + 4 * dimensions  # 0x08 stands for unsigned bytes
    found = int.from_bytes(data[:4], "big")
    if len(data) < head or found != magic:
        raise DataError(
            f"{path}: expected an IDX file of {dimensions}-dimensional bytes (magic {magic:#06x}), "
            f"found magic {found:#06x} in {len(data):,} bytes; replace it"
        )
    shape = struct.unpack(f">{dimensions}I", data[4:head])
    size = head + math.prod(shape)
    if len(data) != size or size == head:
        raise DataError(
            f"{path}: expected {size:,} bytes for {' x '.join(map(str, shape))} values, found {len(data):,}; replace it"
        )
    return torch.frombuffer(bytearray(data), dtype=torch.uint8, offset=head).view(shape)


def _folder(title: str, root: Path, direct: bool, download: bool, *elsewhere: Path) -> Path:
    """Find the folder with all four files; if there is none, torchvision downloads them."""
    known = [root / title / "raw", root / title, *([root] if direct else []), *elsewhere]
    for folder in known:
        if all(_file(folder, part, kind).is_file() for part in ("train", "t10k") for kind in ("images", "labels")):
            return folder
    if not download:
        raise missing(title.lower(), root, f"{title}/raw/train-images-idx3-ubyte[.gz] and its three companions")
    fetch(title.lower(), root, lambda folder: _download(title, folder))
    return known[0]


def _download(title: str, root: Path) -> None:
    from torchvision import datasets  # noqa: PLC0415  (seconds, and only for a download)

    getattr(datasets, title)(root, download=True)


def _data(
    name: str, folder: Path, classes: tuple[str, ...], preprocessing: Preprocessing, image_size: int | None
) -> ImageData:
    train, test = (_images(folder, part, len(classes), image_size) for part in ("train", "t10k"))
    return ImageData(name, train, test, classes, preprocessing)


def _images(folder: Path, part: str, classes: int, image_size: int | None) -> Images:
    """Read the images and labels of `part`, train or t10k."""
    labels_file = _file(folder, part, "labels")
    pixels, labels = read_idx(_file(folder, part, "images"), 3), read_idx(labels_file, 1)
    if len(pixels) != len(labels):
        raise DataError(
            f"{labels_file}: expected {len(pixels):,} labels, one per image, found {len(labels):,}; replace it"
        )
    if int(labels.max()) >= classes:
        raise DataError(f"{labels_file}: expected labels below {classes}, found {int(labels.max())}; replace it")
    return Images(resized(pixels[:, None], image_size), labels.long())


def _file(folder: Path, part: str, kind: str) -> Path:
    """The plain file, else the name of the gzipped one."""
    plain = folder / f"{part}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
    return plain if plain.is_file() else plain.with_name(plain.name + ".gz")
