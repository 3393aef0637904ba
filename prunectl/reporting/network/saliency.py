"""Which pixels the answers of a network hang on."""

import torch
from torch import Tensor

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.images import ImageData
from prunectl.reporting.findings import Sample
from prunectl.reporting.network.picture import photo, png
from prunectl.torchtools.contexts import evaluating

_SAMPLES = 8
_TOP = 0.99


def samples(checkpoint: Checkpoint, data: ImageData) -> tuple[Sample, ...]:
    """The first test image of each class, up to eight, with |d answer / d pixel|, the largest over the colours.

    Source: Simonyan, Vedaldi & Zisserman 2014 (arXiv:1312.6034). Each map is scaled to its own largest values.
    """
    labels = data.test.labels.cpu()
    classes = torch.unique(labels)[:_SAMPLES].tolist()
    index = torch.tensor([int((labels == c).nonzero()[0]) for c in classes])
    pixels, truth = next(data.test.take(index.to(data.test.labels.device)).batches(len(index)))
    pixels = pixels.to(checkpoint.device)
    maps, answers = _saliency(checkpoint, pixels)
    return tuple(
        Sample(data.classes[t], data.classes[a], photo(image), png(spots))
        for t, a, image, spots in zip(truth.tolist(), answers.tolist(), pixels.cpu(), maps.cpu(), strict=True)
    )


def _saliency(checkpoint: Checkpoint, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Maps in [0, 1] (B, H, W), and the answers (B,)."""
    inputs = checkpoint.preprocessing(pixels).requires_grad_(True)
    with evaluating(checkpoint.model), torch.enable_grad():
        logits = checkpoint.model(inputs)
        answers = logits.argmax(1)
        (gradient,) = torch.autograd.grad(logits.gather(1, answers[:, None]).sum(), inputs)
    maps = gradient.abs().amax(1)
    top = torch.quantile(maps.flatten(1), _TOP, dim=1)[:, None, None]
    return (maps / top.clamp_min(torch.finfo(maps.dtype).tiny)).clamp(0, 1), answers
