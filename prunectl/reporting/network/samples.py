"""Test images with their saliency maps."""

import torch
from torch import Tensor

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.images import ImageData
from prunectl.measuring.saliency import saliency
from prunectl.reporting.findings import Sample
from prunectl.reporting.network.picture import heatmap, photo

_SAMPLES = 8
_TOP = 0.99


def samples(checkpoint: Checkpoint, data: ImageData) -> tuple[Sample, ...]:
    """The first test image of each class, up to eight, with the saliency of the predicted class."""
    labels = data.test.labels.cpu()
    classes = torch.unique(labels)[:_SAMPLES].tolist()
    index = torch.tensor([int((labels == c).nonzero()[0]) for c in classes])
    pixels, truth = next(data.test.take(index.to(data.test.labels.device)).batches(len(index)))
    pixels = pixels.to(checkpoint.device)
    maps, logits = saliency(checkpoint.model, pixels, checkpoint.preprocessing, _predicted, top=_TOP)
    return tuple(
        Sample(data.classes[label], data.classes[answer], photo(image), heatmap(heat))
        for label, answer, image, heat in zip(
            truth.tolist(), logits.argmax(1).tolist(), pixels.cpu(), maps.cpu(), strict=True
        )
    )


def _predicted(logits: Tensor) -> Tensor:
    """The sum of the logits of the predicted classes."""
    return logits.gather(1, logits.argmax(1, keepdim=True)).sum()
