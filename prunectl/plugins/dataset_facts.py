"""Facts about the built-in datasets, without torch: shape, classes, counts, normalisation, augmentation, files."""

from dataclasses import dataclass

MEASURED = "mean and standard deviation of the training images"
_OR_IMAGENET = f"{MEASURED}; ImageNet's if they do not fit into memory"


@dataclass(frozen=True)
class DatasetFacts:
    """The facts of a dataset; values that depend on the user's images are None or a text.

    `shape` (C, H, W) is without --image-size. `mean` and `std` are empty if `normalisation` says how they are computed.
    `augment` is the default of `train --augment`. `files` are those expected below the data folder, `megabytes` is the
    size of the download.
    """

    shape: tuple[int, int, int] | None = None
    classes: int | None = None
    train: int | None = None
    test: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    augment: tuple[str, ...] = ()
    files: str = ""
    megabytes: int | None = None
    normalisation: str = ""
    more: str = ""
    """A remark on the augmentation."""
    get: str = ""


_CIFAR = ("flip", "crop")
_FAMILY = "its four IDX files, plain or gzipped"
DATASETS: dict[str, DatasetFacts] = {
    "digits": DatasetFacts((1, 28, 28), 10, 1_442, 355, (0.3052,), (0.3248,), get="Nothing: it is part of prunectl."),
    "mnist": DatasetFacts(
        (1, 28, 28), 10, 60_000, 10_000, (0.1307,), (0.3081,), files=f"MNIST/raw/ with {_FAMILY}", megabytes=12
    ),
    "fashionmnist": DatasetFacts(
        (1, 28, 28), 10, 60_000, 10_000, (0.2860,), (0.3530,), files=f"FashionMNIST/raw/ with {_FAMILY}", megabytes=31
    ),
    "kmnist": DatasetFacts(
        (1, 28, 28), 10, 60_000, 10_000, (0.1918,), (0.3483,), files=f"KMNIST/raw/ with {_FAMILY}", megabytes=21
    ),
    "cifar10": DatasetFacts(
        (3, 32, 32),
        *(10, 50_000, 10_000),
        *((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), _CIFAR),
        *("cifar-10-batches-py/", 170),
    ),
    "cifar100": DatasetFacts(
        (3, 32, 32),
        *(100, 50_000, 10_000),
        *((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), _CIFAR),
        *("cifar-100-python/", 169),
    ),
    "svhn": DatasetFacts(
        (3, 32, 32),
        *(10, 73_257, 26_032),
        *((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
        files="train_32x32.mat and test_32x32.mat",
        megabytes=246,
    ),
    "omniglot": DatasetFacts(
        (1, 28, 28), 964, 14_460, 4_820, normalisation=MEASURED, files="omniglot-py/images_background/", megabytes=10
    ),
    "imagenette": DatasetFacts(
        *((3, 128, 128), 10, 9_469, 3_925),
        augment=("flip",),
        normalisation=_OR_IMAGENET,
        files="imagenette2-160/",
        megabytes=99,
    ),
    "imagefolder": DatasetFacts(
        augment=("flip",),
        more="colour images only",
        normalisation=_OR_IMAGENET,
        get="Put images into PATH/train/CLASS/ and PATH/test/CLASS/ (or val/), or into PATH/CLASS/.",
    ),
    "hf": DatasetFacts(
        normalisation=_OR_IMAGENET,
        get="pip install 'prunectl[hf-data]'; --download fetches hf:OWNER/NAME, hf:FOLDER reads a folder.",
    ),
    "webdataset": DatasetFacts(
        normalisation=_OR_IMAGENET, get="Tar files with KEY.jpg and KEY.cls, named by the pattern."
    ),
    "synthetic": DatasetFacts(
        (1, 28, 28), 10, 2_000, 500, normalisation=MEASURED, get="Nothing: it is drawn at random."
    ),
}
