"""The loss of a training step, on clean images or on adversarials made from them."""

from torch import Tensor, nn

from prunectl.checkpoints.options.training import Recipe
from prunectl.training.adversarial import Forward, adversarial, divergence


def objective(
    recipe: Recipe, classify: Forward, model: nn.Module, pixels: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Loss () and logits (B, classes) of a batch of pixels (B, C, H, W) in [0, 255] and labels (B,).

    `classify` maps pixels to the logits of `model`. With `pgd` the loss is that of the adversarials alone (Madry et al.
    2018, eq. 2.1), with `trades` that of the clean images plus the divergence between the two (Zhang et al. 2019).
    """

    def loss(logits: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)

    if not recipe.adv_eps:
        logits = classify(pixels)
        return loss(logits), logits
    eps, steps, kind = recipe.adv_eps, recipe.adv_steps, recipe.adv_loss
    worst = adversarial(classify, model, pixels, labels, eps=eps, steps=steps, loss=kind)
    if kind == "pgd":
        logits = classify(worst)
        return loss(logits), logits
    logits = classify(pixels)
    return loss(logits) + recipe.adv_beta * divergence(logits, classify(worst)), logits
