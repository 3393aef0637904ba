"""The inside of one network."""

from collections.abc import Sequence

from prunectl.checkpoints.names import base_name, beside
from prunectl.checkpoints.results import is_of
from prunectl.reporting.findings import Adversarial, Look
from prunectl.reporting.page.blocks import Picture, Section, image_link
from prunectl.reporting.page.data import PageData
from prunectl.reporting.page.figures.figure import Figure
from prunectl.reporting.page.figures.inside import by_rank, confusion, histogram, layer_bars, outline
from prunectl.reporting.sources import Source

_CONFUSED = 8


def inside_section(data: PageData) -> Section | None:
    """Layers, masks, weights, scores, confusion matrix, saliency, adversarial examples."""
    focus, look = data.focus, data.look
    if focus is None:
        return None
    section = Section(f"Inside {base_name(focus.path)}", "What pruning left of this network, and where it errs.")
    if look is None:
        section.notes.append("The inside of the network was not analysed.")
    else:
        _network(section, focus, look)
    _confusion(section, focus)
    if look is not None:
        _saliency(section, look)
    _adversarial(section, focus, () if look is None else look.adversarial)
    return section


def _network(section: Section, focus: Source, look: Look) -> None:
    assert focus.seen is not None
    section.figures += [
        outline(look.layers, tuple(focus.seen["input"]), prefix="in"),
        layer_bars(look.layers, nodes=False, prefix="in"),
        layer_bars(look.layers, nodes=True, prefix="in"),
    ]
    drawn: list[Figure | None] = [histogram(look.weights, look.before, what="weights that are kept", prefix="in-w")]
    values = look.before or look.weights
    if values is not None:
        whose = "of the dense network" if look.before else "that are kept"
        drawn.append(by_rank(values, what=f"absolute weights {whose}", prefix="in-w"))
    if look.scores is not None:
        drawn += [
            histogram(look.scores, None, what="scores", prefix="in-s"),
            by_rank(look.scores, what="scores", prefix="in-s"),
        ]
    section.figures += [figure for figure in drawn if figure is not None]
    masks = [
        Picture(
            image_link(layer.picture),
            f"Mask of {layer.name}: {layer.kept:,} of {layer.weights:,} weights kept",
            f"{layer.name} · {' × '.join(map(str, layer.shape))} · {100 * layer.kept / layer.weights:.3g} % kept",
        )
        for layer in look.layers
    ]
    section.pictures.append(
        ("Masks. Outputs run downwards, inputs across. The darker the blue, the more weights are kept there.", masks)
    )
    if "scores" in look.missing:
        section.notes.append(look.missing["scores"])


def _adversarial(section: Section, focus: Source, found: Sequence[Adversarial]) -> None:
    """Adversarial examples as pairs of pictures, or the picture that the attack saved."""
    names = dict(enumerate(map(str, focus.measured.get("per_class", {}))))
    if found:
        pictures = []
        for one in found:
            label, answer = (names.get(number, str(number)) for number in (one.label, one.answer))
            alt = f"A test image of class {label} and its adversarial example, classified as {answer}"
            words = f"{label}, then classified as {answer}"
            pictures.append(Picture(image_link(one.clean), alt, words, beside=image_link(one.adversarial)))
        section.pictures.append(
            ("Adversarial examples. Test images, each with what the attack turned it into.", pictures)
        )
        return
    file, tensors = (beside(focus.path, f".examples.{suffix}") for suffix in ("png", "safetensors"))
    if not file.exists() or (tensors.exists() and not is_of(tensors, focus.sha256)):
        section.notes.append(
            f"No adversarial examples: {file.name} is missing or belongs to a different checkpoint. "
            "`prunectl attack --save-examples 8` saves some."
        )
        return
    picture = Picture(image_link(file.read_bytes()), f"Grid of adversarial examples of {base_name(focus.path)}", "")
    section.pictures.append(("Adversarial examples. Test images, each with what the attack turned it into.", [picture]))


def _confusion(section: Section, focus: Source) -> None:
    table = focus.measured.get("confusion")
    if table is None:
        section.notes.append("No confusion matrix was recorded. Run `prunectl eval CHECKPOINT` to record it.")
        return
    classes = [str(name) for name in focus.measured.get("per_class", range(len(table)))]
    figure = confusion(table, classes, prefix="in")
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
                f"A test image of class {sample.label}, and its pixels that matter most for the answer {sample.answer}",
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
