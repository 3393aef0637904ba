"""Teacher: the dense network whose logits a pruned one learns from (Hinton et al. 2015, arXiv:1503.02531)."""

import copy

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.images import ImageSource
from prunectl.errors import OptionError
from prunectl.measuring.cost import cost
from prunectl.torchtools import distributed
from prunectl.torchtools.copies import in_type_of
from prunectl.torchtools.digest import digest

_BATCH = 512


class Teacher:
    """A frozen network in evaluation mode, and its logits on all training images once they are known.

    Raises:
        OptionError: its images or classes differ from those of the `student`.
    """

    def __init__(self, checkpoint: Checkpoint, student: Checkpoint, *, amp: bool) -> None:
        for what, has, expected in (
            ("input", checkpoint.spec.input, student.spec.input),
            ("number of classes", checkpoint.spec.classes, student.spec.classes),
        ):
            if has != expected:
                raise OptionError(
                    f"`teacher` has {what} {has}, the network {expected}; use a checkpoint for the same images"
                )
        if checkpoint.preprocessing.known != student.preprocessing.known:
            for each in (checkpoint, student):  # each normalises the same pixels itself
                each.preprocessing.check_known()
        self.sha256 = checkpoint.sha256 or digest(checkpoint.model.state_dict())
        self.model = copy.deepcopy(checkpoint.model).to(student.device).eval().requires_grad_(False)
        self.flops = cost(checkpoint.model, checkpoint.masks, checkpoint.spec.input).flops
        """Of a forward pass of one image."""
        self.classes = checkpoint.spec.classes
        self.preprocessing, self.amp = checkpoint.preprocessing, amp
        self.known: Tensor | None = None

    @torch.no_grad()
    def logits(self, pixels: Tensor) -> Tensor:
        """Logits (B, classes) of pixels (B, C, H, W) in [0, 255]."""
        with torch.autocast(pixels.device.type, dtype=torch.bfloat16, enabled=self.amp):
            found: Tensor = self.model(in_type_of(self.model, self.preprocessing(pixels)))
        return found.float()

    def learn_(self, images: ImageSource) -> None:
        """Store the logits (N, classes) of all training images, for a training that does not change images."""
        device = images.labels.device
        known = torch.zeros(len(images), self.classes, device=device)
        numbered = images.relabel(torch.arange(len(images), device=device))
        for pixels, index in numbered.batches(_BATCH, rows=distributed.rows):
            known[index] = self.logits(pixels.to(device))
        distributed.sum_([known])
        self.known = known


def distillation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean KL divergence of the softened predictions from the teacher's, times temperature² (section 2)."""
    soft = nn.functional.log_softmax(logits.float() / temperature, 1)
    target = nn.functional.log_softmax(teacher / temperature, 1)
    return temperature**2 * nn.functional.kl_div(soft, target, reduction="batchmean", log_target=True)
