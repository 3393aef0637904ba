"""The options for a command's images, and their record in a history."""

from dataclasses import dataclass

from prunectl.checkpoints.options.option import option


@dataclass(frozen=True)
class DataRecord:
    """The images of a command: the dataset's name, its `source` if the name does not find it, and the changes."""

    name: str = option(shown=False)
    source: str | None = option(None, shown=False)
    split: float | None = None
    tuning: bool = False
    subset: int | None = None
    random_labels: bool = False


@dataclass(frozen=True)
class DataOptions:
    """How a dataset is loaded and changed; `seed` draws the subset and the labels."""

    image_size: int | None = None
    download: bool = False
    tuning: bool = False
    subset: int | None = None
    random_labels: bool = False
    seed: int = 0
    split: float | None = None
