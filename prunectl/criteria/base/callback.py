"""Callback: how a criterion takes part in the training up to its last round of pruning."""

from collections.abc import Mapping

from torch import Tensor, nn

from prunectl.scores import Scores


class Callback(nn.Module):
    """Does nothing; a criterion overrides what it needs. Its own parameters are trained beside the network's.

    A new one is made after every round, as `callback(model, structure, images, *, options)`: `structure` is None unless
    it `needs_structure`, and `images` counts the images of an epoch. The names of the network's parameters are
    those of `structure`.
    """

    needs_structure = False

    def without_(self, gone: Tensor) -> None:
        """Drop the nodes that the masks have removed, bool (nodes,); called where it needs the structure."""

    def aim_(self, kept: Mapping[str, Tensor], scope: str) -> None:
        """Take the target: masks by weight with as many kept as after the last round, of arbitrary ones; the scope."""

    def on_epoch_start(self, model: nn.Module, due: bool) -> None:
        """Before an epoch: choose what trains. `due` where a round of pruning follows the epoch."""

    def on_epoch_end(self, model: nn.Module) -> None:
        """After an epoch, and before a round: undo what `on_epoch_start` did."""

    def parametrized(self, model: nn.Module) -> Mapping[str, Tensor]:
        """Tensors that replace the parameters of these names in a training step."""
        return {}

    def penalty(self, model: nn.Module) -> Tensor | None:
        """What is added to the loss: a scalar."""
        return None

    def after_backward(self, model: nn.Module) -> None:
        """After the backward pass of a step: see the gradients."""

    def after_step(self, model: nn.Module) -> None:
        """After a step of the optimiser: correct the parameters."""

    def fold_(self, model: nn.Module) -> None:
        """Fold its effect into a network's parameters, for evaluation and for pruning."""

    def scores(self, model: nn.Module) -> Scores | None:
        """Scores for the round that is due, None where the criterion's scorer computes them."""
        return None

    def metrics(self, model: nn.Module) -> Mapping[str, float]:
        """Values for the log."""
        return {}
