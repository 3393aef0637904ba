"""The options that say which images a command takes, and what a history says of them."""

from dataclasses import dataclass

from prunectl.checkpoints.options.option import option


@dataclass(frozen=True)
class DataRecord:
    """Which images a command took: the name of the dataset, `source` where that does not find it, and the changes."""

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
