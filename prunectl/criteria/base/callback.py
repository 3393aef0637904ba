"""Callback: lets a criterion take part in the training up to its last round of pruning."""

from collections.abc import Mapping

from torch import Tensor, nn

from prunectl.scores import Scores


class Callback(nn.Module):
    """Hooks that do nothing; a criterion overrides those it needs. Its own parameters are trained with the network's.

    After every round, a new one is made as `callback(model, structure, images, *, options)`: `structure` is None unless
    it `needs_structure`, and `images` counts the images of an epoch. `structure` uses the names of the network's
    parameters.
    """

    needs_structure = False

    def without_(self, gone: Tensor) -> None:
        """Drop the nodes that the masks have removed, bool (nodes,); called if it needs the structure."""

    def aim_(self, kept: Mapping[str, Tensor], scope: str) -> None:
        """Receive the target: masks by weight that keep as many (arbitrary) entries as the last round; the scope."""

    def on_epoch_start(self, model: nn.Module, due: bool) -> None:
        """Before an epoch: choose what trains. `due` is True if a round of pruning follows the epoch."""

    def on_epoch_end(self, model: nn.Module) -> None:
        """After an epoch, and before a round: undo what `on_epoch_start` did."""

    def parametrized(self, model: nn.Module) -> Mapping[str, Tensor]:
        """Tensors that replace the parameters of these names in a training step."""
        return {}

    def penalty(self, model: nn.Module) -> Tensor | None:
        """A scalar to add to the loss."""
        return None

    def after_backward(self, model: nn.Module) -> None:
        """After the backward pass of a step: read the gradients."""

    def after_step(self, model: nn.Module) -> None:
        """After an optimiser step: correct the parameters."""

    def fold_(self, model: nn.Module) -> None:
        """Fold its effect into a network's parameters, for evaluation and pruning."""

    def scores(self, model: nn.Module) -> Scores | None:
        """Scores for the due round; None if the criterion's scorer computes them."""
        return None

    def metrics(self, model: nn.Module) -> Mapping[str, float]:
        """Values for the log."""
        return {}
