"""How far the outputs of a layer are from those of the dense one, before and after its repair."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerError:
    """Squared errors of the outputs that are left, relative to the variance of those of the dense layer.

    `before` is with the layers in front of it repaired already; both are measured on images that were held out.
    """

    layer: str
    before: float
    after: float
