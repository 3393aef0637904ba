"""The analysis of one network in plain values for the page; `reporting.network` computes them with torch."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Layer:
    """One prunable layer of the dense network; `left` of its `outputs` (channels or neurons) keep a weight.

    `picture` is a PNG of its mask, with outputs as rows and inputs as columns, darker where more weights are kept.
    """

    name: str
    shape: tuple[int, ...]
    kept: int
    outputs: int
    left: int
    picture: bytes

    @property
    def weights(self) -> int:
        """The number of weights in the dense layer."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True)
class Distribution:
    """The distribution of weights or scores: a histogram, and the absolute values by rank.

    `ranked` holds some of the (rank, value) pairs; rank 1 is the largest. `kept` is the number of kept values.
    """

    count: int
    kept: int
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    ranked: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Sample:
    """A test image with its saliency map, as PNGs, its class, and the predicted class."""

    label: str
    answer: str
    image: bytes
    saliency: bytes


@dataclass(frozen=True)
class Adversarial:
    """A test image and its adversarial example, as PNGs; the class, and the prediction for the example, by number."""

    label: int
    answer: int
    clean: bytes
    adversarial: bytes


@dataclass(frozen=True)
class Timing:
    """Seconds for a batch: median and quartiles of all runs."""

    network: str
    runtime: str
    batch: int
    median_s: float
    low_s: float
    high_s: float
    runs: int


@dataclass(frozen=True)
class Speed:
    """The timings of the dense, the masked and the shrunk network, and reasons if pruning did not make it faster.

    `is_shrunk` says whether the checkpoint holds the shrunk or the masked one.
    """

    timings: tuple[Timing, ...]
    reasons: tuple[str, ...]
    device: str
    is_shrunk: bool = False


@dataclass(frozen=True)
class Look:
    """The whole analysis; `missing` says why a part is absent."""

    path: Path
    layers: tuple[Layer, ...] = ()
    weights: Distribution | None = None
    before: Distribution | None = None
    """The weights of its dense ancestor."""
    scores: Distribution | None = None
    samples: tuple[Sample, ...] = ()
    adversarial: tuple[Adversarial, ...] = ()
    speed: Speed | None = None
    missing: dict[str, str] = field(default_factory=dict)
