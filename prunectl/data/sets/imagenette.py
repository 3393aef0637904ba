"""Imagenette (Howard 2019, https://github.com/fastai/imagenette): ten easy classes of ImageNet, at 160 pixels."""

from dataclasses import replace
from pathlib import Path

from prunectl.data.decode import Decoder
from prunectl.data.fetch import fetch
from prunectl.data.folder import folder_data
from prunectl.data.images import ImageData
from prunectl.data.source import NetworkInput, Progress, missing
from prunectl.data.tree import Tree, find_tree
from prunectl.errors import DataError

FOLDER = "imagenette2-160"
CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}


def imagenette(
    root: Path,
    *,
    image_size: int | None,
    download: bool,
    progress: Progress | None,
    network: NetworkInput | None = None,
) -> ImageData:
    """Photos of ten easy ImageNet classes (Howard 2019), 128x128: 9,469 for training and 3,925 for testing.

    The default size is that of Verdenius et al. 2020.
    """
    tree = _tree(root, download)
    rule = () if network is None else (network.crop, network.interpolation)
    decoder = Decoder(image_size or 128, "RGB", *rule)
    return folder_data("imagenette", tree, decoder, limit=None, progress=progress)


def _tree(root: Path, download: bool) -> Tree:
    place = next((folder for folder in (root / FOLDER, root) if (folder / "train" / "n01440764").is_dir()), None)
    if place is None and download:
        fetch("imagenette", root, _download)
        place = root / FOLDER
    if place is None:
        raise missing("imagenette", root, f"{FOLDER}/train/n01440764")
    tree = find_tree(place)
    if tree.classes != tuple(CLASSES):
        raise DataError(
            f"{place}: expected the 10 classes of imagenette, found {len(tree.classes)} classes; "
            "delete it, then download it again with `download`"
        )
    return replace(tree, classes=tuple(CLASSES.values()))


def _download(root: Path) -> None:
    from torchvision.datasets import Imagenette  # noqa: PLC0415  (seconds, and only for a download)

    Imagenette(root, size="160px", download=True)
