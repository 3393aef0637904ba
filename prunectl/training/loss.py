"""The loss of a training step, on clean images or on adversarial ones made from them."""

import torch
from torch import Tensor, nn

from prunectl.checkpoints.options.training import Recipe
from prunectl.training.adversarial import Forward, adversarial, divergence
from prunectl.training.batch import Batch
from prunectl.training.teacher import distillation


def objective(recipe: Recipe, classify: Forward, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Loss () and logits (B, classes) of a batch.

    `classify` maps pixels in [0, 255] to the logits of `model`. With `pgd` the loss is that of the adversarial images
    (Madry et al. 2018, eq. 2.1), with `trades` that of the clean images plus the divergence between the two (Zhang et
    al. 2019).
    """
    if not recipe.adv_eps:
        logits = classify(batch.pixels)
        return _loss(recipe, logits, batch), logits
    eps, steps, kind = recipe.adv_eps, recipe.adv_steps, recipe.adv_loss
    worst = adversarial(classify, model, batch.pixels, batch.labels, eps=eps, steps=steps, loss=kind)
    if kind == "pgd":
        logits = classify(worst)
        return _loss(recipe, logits, batch), logits
    logits = classify(batch.pixels)
    return _loss(recipe, logits, batch) + recipe.adv_beta * divergence(logits, classify(worst)), logits


def _loss(recipe: Recipe, logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy with the labels, combined with the divergence from a teacher."""
    hard = _cross_entropy(recipe, logits, batch.labels)
    if batch.second is not None:
        hard = batch.share * hard + (1 - batch.share) * _cross_entropy(recipe, logits, batch.second)
    if batch.teacher is None:
        return hard
    soft = distillation(logits, batch.teacher, recipe.temperature)  # at least in float32
    return torch.lerp(hard.to(soft), soft, recipe.teacher_weight)


def _cross_entropy(recipe: Recipe, logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
