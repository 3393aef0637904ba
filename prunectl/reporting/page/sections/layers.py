"""Where methods prune: a table of layers by methods."""

from collections.abc import Callable, Mapping, Sequence
from math import prod

from prunectl.reporting.curves import Stat
from prunectl.reporting.formats import target_text
from prunectl.reporting.kept import Shapes
from prunectl.reporting.layer_shares import LayerShares, MethodLayers, layer_shares
from prunectl.reporting.page.best import best
from prunectl.reporting.page.blocks import Cell, Section, Table
from prunectl.reporting.page.data import PageData

_LEAD = (
    "Where methods prune: the kept share of each layer's weights, and of its outputs (channels, neurons) that keep a "
    "weight, in percent of the dense layer. Mean ± standard deviation over seeds."
)
_Values = Callable[[MethodLayers], Mapping[str, Stat]]


def layers_section(data: PageData) -> Section | None:
    """A table per target, folded if there is only one method; None if no layers are known."""
    shares = layer_shares(data.setting, data.sources.every, _analysed(data))
    if shares is None:
        return None
    section = Section(f"Layers{data.suffix}", _LEAD, panel_label="Target")
    if len({each.label for each in shares.methods}) == 1:
        section.folded = f"What {shares.methods[0].label} keeps of each layer"
    top = best(data.setting)
    first = None if top is None else target_text(top.point.target)
    targets = sorted(shares.targets, key=lambda target: target != first)
    section.panels = [_panel(data.prefix, number, target, shares) for number, target in enumerate(targets)]
    return section


def _analysed(data: PageData) -> Shapes | None:
    """The layers in the order of the network, from an analysed network of this setting."""
    ours = {row["checkpoint"] for _, point in data.setting.points for row in point.rows}
    ours |= {row["checkpoint"] for row in data.setting.dense.rows} if data.setting.dense else set()
    looks = [look for path, look in data.looks.items() if str(path) in ours and look.layers]
    return {layer.name: layer.shape for layer in looks[0].layers} if looks else None


def _panel(prefix: str, number: int, target: str, shares: LayerShares) -> Section:
    methods = [each for each in shares.methods if each.target == target]
    panel = Section(target or "no target")
    name = f"{prefix}-layers-{number}"
    panel.tables.append(_table(f"{name}-weights", "Weights kept, %", shares.layers, methods, lambda m: m.weights, _all))
    if any(stat.mean < 1 for each in methods for stat in each.outputs.values()):
        title = "Outputs that keep a weight, %"
        panel.tables.append(_table(f"{name}-outputs", title, shares.layers, methods, lambda m: m.outputs, _outputs))
    return panel


def _table(
    name: str,
    caption: str,
    layers: Shapes,
    methods: Sequence[MethodLayers],
    values: _Values,
    size: Callable[[tuple[int, ...]], int],
) -> Table:
    """One row per layer, and one for all layers, which is the mean weighted by their sizes."""
    sizes = {layer: size(shape) for layer, shape in layers.items()}
    rows = [
        (Cell(layer), Cell(f"{sizes[layer]:,}", sizes[layer]), *(_cell(values(each)[layer]) for each in methods))
        for layer in layers
    ]
    whole = sum(sizes.values())
    total = [sum(values(each)[layer].mean * sizes[layer] for layer in layers) / whole for each in methods]
    rows.append((Cell("all layers"), Cell(f"{whole:,}", whole), *(_cell(Stat(share, None, 1)) for share in total)))
    columns = ("layer", "dense", *(each.label for each in methods))
    return Table(name, caption, columns, (False, *(True for _ in columns[1:])), tuple(rows))


def _cell(stat: Stat) -> Cell:
    """A share in percent to three digits, such as `12.3 ± 0.4`."""
    spread = "" if stat.std is None else f" ± {100 * stat.std:.2g}"
    return Cell(f"{100 * stat.mean:.3g}{spread}", stat.mean)


def _all(shape: tuple[int, ...]) -> int:
    return prod(shape)


def _outputs(shape: tuple[int, ...]) -> int:
    return shape[0]
