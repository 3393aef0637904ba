"""scale: multiplies every output channel of a layer to bring its variance close to the dense layer's."""

import torch
from torch import Tensor

from prunectl.masks import Masks
from prunectl.pruning.repair.errors_by_layer import LayerError
from prunectl.pruning.repair.layers import Layer
from prunectl.pruning.repair.walk import DENSE, PRUNED, Walk


def scale_(walk: Walk, layer: Layer, masks: Masks) -> LayerError | None:
    """Multiply the weights and biases of a layer in place, channel by channel.

    With the variances v of a channel's outputs in the dense network and u in the pruned one, the factor is
    1 + a (sqrt(v / u) - 1) with a = r / (r + mean r), r = u / v: a channel that keeps little of its signal is corrected
    less. The error is that of the variances, |sqrt(u / v) - 1|^2, over the channels.

    Source: Adaptive Signal Resuscitation (arXiv:2605.21426), which matches variances by channel, shrinks the
    corrections of weak channels and then takes the BatchNorm statistics anew; the form of the shrinkage is ours.
    """
    own, dense = (_variance(walk, layer, which) for which in (PRUNED, DENSE))
    tensors = walk.networks[PRUNED]
    left = layer.unfolding.matrix(masks.of(layer.weight, tensors[layer.weight])).any(2) & (own > 0) & (dense > 0)
    if not left.any():
        return None
    ratio = torch.where(left, own / dense, 1.0)
    trust = ratio / (ratio + ratio[left].mean())
    factor = torch.where(left, 1 + trust * (ratio.rsqrt() - 1), 1.0)
    weight = tensors[layer.weight].detach()
    weight.copy_(layer.unfolding.weight(layer.unfolding.matrix(weight).double() * factor[:, :, None]))
    if layer.bias is not None:
        bias = tensors[layer.bias].detach()
        bias.copy_((layer.unfolding.vector(bias).double() * factor).reshape(bias.shape))
    before, after = (float((r.sqrt() - 1).square()[left].mean()) for r in (ratio, ratio * factor.square()))
    return LayerError(layer.weight, before, after)


def _variance(walk: Walk, layer: Layer, which: int) -> Tensor:
    """The variance (G, O) of the outputs of a layer over images and positions."""
    count, one, two = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for x in walk.values(which, layer.input):
        y = layer.unfolding.outputs(walk.computed(which, layer.node, {layer.input: x})).double()
        count, one, two = count + y.shape[1], one + y.sum(1), two + y.square().sum(1)
    return (two / count - (one / count).square()).clamp_min(0)
