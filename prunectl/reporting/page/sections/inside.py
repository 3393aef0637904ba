"""Networks from inside, one at a time."""

from collections.abc import Sequence

from prunectl.checkpoints.names import base_name, beside
from prunectl.checkpoints.results import is_of
from prunectl.reporting.findings import Adversarial, Look
from prunectl.reporting.page.best import MOST_NETWORKS, Network, left_out
from prunectl.reporting.page.blocks import Picture, Section, image_link
from prunectl.reporting.page.data import PageData
from prunectl.reporting.page.figures.figure import Figure
from prunectl.reporting.page.figures.inside import by_rank, confusion, histogram, layer_bars, outline
from prunectl.reporting.page.figures.repair import repair_bars
from prunectl.reporting.sources import Source

_CONFUSED, _NAMED = 8, 6
_LEAD = "What pruning kept of a network, what a repair changed, and which errors the network makes."


def inside_section(data: PageData) -> Section | None:
    """Layers, masks, weights, scores, repair, confusion matrix, saliency, adversarial examples of up to 12 networks."""
    if not data.networks:
        return None
    section = Section("Inside", _LEAD + _missing(data))
    section.panels = [_panel(data, number, network) for number, network in enumerate(data.networks)]
    return section


def _missing(data: PageData) -> str:
    """A text on operating points that are not shown, because a page has room for twelve."""
    names = left_out(data.sources, data.settings, data.networks)
    if not names:
        return ""
    few = "; ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return f" Not shown, because a page has room for {MOST_NETWORKS}: {few}. To see one, add `--inside CHECKPOINT`."


def _panel(data: PageData, number: int, network: Network) -> Section:
    """One network; only the first one has curves and pictures, to keep the page small."""
    source, look, prefix = network.source, data.looks.get(network.source.path), f"n{number}"
    name = base_name(source.path)
    section = Section(network.label, name if name != network.label else "")
    if look is None or not look.layers:
        why = "" if look is None else look.missing.get("layers", "")
        section.notes.append(f"No layer details: {why or 'run `prunectl report CHECKPOINT -o PAGE.html`.'}")
    else:
        _network(section, source, look, prefix, whole=number == 0)
    _repair(section, source, prefix)
    _confusion(section, source, prefix)
    if look is not None and number == 0:
        _saliency(section, look)
    _adversarial(section, source, () if look is None else look.adversarial, hint=number == 0)
    return section


def _network(section: Section, source: Source, look: Look, prefix: str, *, whole: bool) -> None:
    assert source.seen is not None
    section.figures += [
        outline(look.layers, tuple(source.seen["input"]), prefix=prefix),
        layer_bars(look.layers, prefix=prefix),
    ]
    if whole:
        section.figures += _distributions(look, prefix)
    masks = [
        Picture(
            image_link(layer.picture),
            f"Mask of {layer.name}: {layer.kept:,} of {layer.weights:,} weights kept",
            f"{layer.name} · {' × '.join(map(str, layer.shape))} · {100 * layer.kept / layer.weights:.3g} % kept",
        )
        for layer in look.layers
        if layer.kept < layer.weights
    ]
    if masks:
        title = "Masks. Outputs are rows, inputs are columns. Darker blue means that more weights are kept there."
        section.pictures.append((title, masks))
    if "scores" in look.missing and whole:
        section.notes.append(look.missing["scores"])


def _distributions(look: Look, prefix: str) -> list[Figure]:
    """Weights and scores as histograms and by rank."""
    found = [histogram(look.weights, look.before, what="weights that are kept", prefix=f"{prefix}-w")]
    values = look.before or look.weights
    if values is not None:
        whose = "of the dense network" if look.before else "that are kept"
        found.append(by_rank(values, what=f"absolute weights {whose}", prefix=f"{prefix}-w"))
    if look.scores is not None:
        found.append(histogram(look.scores, None, what="scores", prefix=f"{prefix}-s"))
        found.append(by_rank(look.scores, what="scores", prefix=f"{prefix}-s"))
    return [figure for figure in found if figure is not None]


def _repair(section: Section, source: Source, prefix: str) -> None:
    """The error of each layer before and after every repair in the history."""
    repairs = [entry.result["layers"] for entry in source.history if "layers" in entry.result]
    for number, layers in enumerate(repairs):
        if layers:
            section.figures.append(repair_bars(layers, prefix=f"{prefix}-{number}"))
        else:
            section.notes.append("The repair changed only BatchNorm statistics.")


def _adversarial(section: Section, focus: Source, found: Sequence[Adversarial], *, hint: bool) -> None:
    """Adversarial examples as pairs of pictures, or the picture saved by the attack."""
    names = dict(enumerate(map(str, focus.measured.get("per_class", {}))))
    if found:
        pictures = []
        for one in found:
            label, answer = (names.get(number, str(number)) for number in (one.label, one.answer))
            alt = f"A test image of class {label} and its adversarial example, classified as {answer}"
            words = f"{label}, then classified as {answer}"
            pictures.append(Picture(image_link(one.clean), alt, words, beside=image_link(one.adversarial)))
        section.pictures.append(("Adversarial examples. Test images, each beside its adversarial version.", pictures))
        return
    file, tensors = (beside(focus.path, f".examples.{suffix}") for suffix in ("png", "safetensors"))
    if not file.exists() or (tensors.exists() and not is_of(tensors, focus.sha256)):
        if hint:
            section.notes.append(
                f"No adversarial examples: {file.name} is missing or belongs to a different checkpoint. "
                "`prunectl attack --save-examples 8` saves some."
            )
        return
    picture = Picture(image_link(file.read_bytes()), f"Grid of adversarial examples of {base_name(focus.path)}", "")
    section.pictures.append(("Adversarial examples. Test images, each beside its adversarial version.", [picture]))


def _confusion(section: Section, focus: Source, prefix: str) -> None:
    table = focus.measured.get("confusion")
    if table is None:
        section.notes.append("No confusion matrix was recorded. Run `prunectl eval CHECKPOINT` to record it.")
        return
    classes = [str(name) for name in focus.measured.get("per_class", range(len(table)))]
    figure = confusion(table, classes, prefix=prefix)
    if figure is not None:
        section.figures.append(figure)
        return
    pairs = sorted(((n, i, j) for i, row in enumerate(table) for j, n in enumerate(row) if i != j and n), reverse=True)
    worst = ", ".join(f"{classes[i]} classified as {classes[j]} ({n})" for n, i, j in pairs[:_CONFUSED])
    section.notes.append(f"{len(classes)} classes are too many for a confusion matrix. Most confused: {worst}.")


def _saliency(section: Section, look: Look) -> None:
    if look.samples:
        pictures = [
            Picture(
                image_link(sample.image),
                f"A test image of class {sample.label}, and the pixels that matter most for the answer {sample.answer}",
                sample.label if sample.label == sample.answer else f"{sample.label}, classified as {sample.answer}",
                beside=image_link(sample.saliency),
            )
            for sample in look.samples
        ]
        section.pictures.append(
            ("Saliency. Test images, each beside the pixels that matter most for the predicted class.", pictures)
        )
    else:
        section.notes.append(f"No saliency maps: {look.missing.get('samples', 'The test set has no images.')}")
