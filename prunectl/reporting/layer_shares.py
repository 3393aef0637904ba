"""Where methods prune: the share that each keeps of every layer, with mean and standard deviation over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prunectl.reporting.curves import Setting, Stat
from prunectl.reporting.formats import target_text
from prunectl.reporting.kept import Shapes, dense_shapes, kept_layers
from prunectl.reporting.sources import Source

COLUMNS = (
    *("model", "data", "method", "target", "seeds", "layer", "shape"),
    *("weights_kept", "weights_kept_std", "outputs_kept", "outputs_kept_std"),
)
"""Columns of the table of values, with one row per method, target and layer."""


@dataclass(frozen=True)
class MethodLayers:
    """One method at one target: the kept shares of weights, and of outputs with kept weights, by dense layer."""

    label: str
    target: str
    seeds: int
    weights: Mapping[str, Stat]
    outputs: Mapping[str, Stat]


@dataclass(frozen=True)
class LayerShares:
    """All methods of a setting; `layers` are those of the dense network with their shapes, in its order if known."""

    layers: Shapes
    methods: tuple[MethodLayers, ...]

    @property
    def targets(self) -> list[str]:
        """All targets, in the order of the methods."""
        return list(dict.fromkeys(each.target for each in self.methods))


def layer_shares(setting: Setting, sources: Mapping[str, Source], layers: Shapes | None = None) -> LayerShares | None:
    """The layer shares of the methods of a setting; None if no header has them.

    `layers` are those of the dense network; by default they come from a checkpoint that was not shrunk, whose header
    has them by name.
    """
    points = [*([("dense", setting.dense)] if setting.dense else []), *((s.label, p) for s, p in setting.points)]
    of_point = {id(point): [sources[row["checkpoint"]] for row in point.rows] for _, point in points}
    everything = [one for each in of_point.values() for one in each]
    dense = layers or dense_shapes([*everything, *_ancestors(everything, sources)])
    found = []
    for series, point in setting.points:
        seen = [kept for one in of_point[id(point)] if (kept := kept_layers(one, dense))]
        if not seen:
            continue
        weights, outputs = (
            {name: stat for name in dense if (stat := Stat.of(getattr(kept[name], what) for kept in seen))}
            for what in ("weights", "outputs")
        )
        found.append(MethodLayers(series.label, target_text(point.target), len(seen), weights, outputs))
    return LayerShares(dense, tuple(found)) if dense and found else None


def _ancestors(ends: Sequence[Source], sources: Mapping[str, Source]) -> list[Source]:
    """The ancestors of the checkpoints, by hash; one of them has the dense shapes."""
    parents = {entry.parent for one in ends for entry in one.history} - {None}
    return [one for one in sources.values() if one.sha256 in parents]


def values(setting: Setting, shares: LayerShares) -> list[dict[str, Any]]:
    """Plain values by column, one row per method, target and layer."""
    return [
        {
            **{"model": setting.model, "data": setting.data, "method": each.label, "target": each.target},
            **{"seeds": each.seeds, "layer": name, "shape": "x".join(map(str, shape))},
            **{"weights_kept": each.weights[name].mean, "weights_kept_std": each.weights[name].std},
            **{"outputs_kept": each.outputs[name].mean, "outputs_kept_std": each.outputs[name].std},
        }
        for each in shares.methods
        for name, shape in shares.layers.items()
    ]
