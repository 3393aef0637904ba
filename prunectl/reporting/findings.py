"""What is seen inside one network, as plain values that a page can draw; `report.network` finds them, with torch."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Layer:
    """One prunable layer beside its dense original. `outputs` are channels or neurons; `left` of them have a weight.

    `picture` is a PNG of its mask: outputs downwards, inputs across, the stronger the blue the more weights are kept.
    """

    name: str
    shape: tuple[int, ...]
    kept: int
    outputs: int
    left: int
    picture: bytes

    @property
    def weights(self) -> int:
        """Weights of the dense layer."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True)
class Distribution:
    """The distribution of some numbers: histogram, and the largest absolute ones by rank.

    `ranked` holds (rank, value) pairs, rank 1 the largest, thinned out; `kept` tells how many of them are kept.
    """

    count: int
    kept: int
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    ranked: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Sample:
    """A test image, and which of its pixels the network's answer hangs on, as PNGs."""

    label: str
    answer: str
    image: bytes
    saliency: bytes


@dataclass(frozen=True)
class Adversarial:
    """A test image and what an attack made of it, as PNGs; its class, and the answer to the latter, by number."""

    label: int
    answer: int
    clean: bytes
    adversarial: bytes


@dataclass(frozen=True)
class Timing:
    """Seconds for a batch: median and quartiles, over all runs."""

    network: str
    runtime: str
    batch: int
    median_s: float
    low_s: float
    high_s: float
    runs: int


@dataclass(frozen=True)
class Speed:
    """How fast the dense, the masked and the shrunk network are side by side, and why it is not faster."""

    timings: tuple[Timing, ...]
    reasons: tuple[str, ...]
    device: str


@dataclass(frozen=True)
class Look:
    """All that was found; `missing` says why a part is not there."""

    path: Path
    layers: tuple[Layer, ...] = ()
    weights: Distribution | None = None
    before: Distribution | None = None
    """The weights of the dense network that it came from."""
    scores: Distribution | None = None
    samples: tuple[Sample, ...] = ()
    adversarial: tuple[Adversarial, ...] = ()
    speed: Speed | None = None
    missing: dict[str, str] = field(default_factory=dict)
