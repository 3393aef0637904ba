"""The distance of a layer's outputs from the dense layer's, before and after its repair."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerError:
    """Squared errors of the remaining outputs, relative to the variance of the dense layer's.

    `before` is measured with all earlier layers repaired; both are measured on held-out images.
    """

    layer: str
    before: float
    after: float
