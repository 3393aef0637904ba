"""train: fit a network to labelled images while its pruned weights stay zero."""

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.training import Recipe
from prunectl.data.images import ImageData
from prunectl.training.trainer import Trainer


def train(
    checkpoint: Checkpoint, data: ImageData, recipe: Recipe | None = None, *, teacher: Checkpoint | None = None
) -> Checkpoint:
    """Train a copy of a checkpoint's network to the end of the recipe, with the logits of a `teacher` if there is one.

    Raises:
        DataError: the images do not fit the network.
        OptionError: the recipe cannot work, or the network was trained on the images that are now held out.
        DivergedError: the loss is not finite.
    """
    trainer = Trainer(checkpoint, data, recipe or Recipe(), teacher=teacher)
    for _ in trainer.steps():
        pass
    return trainer.result()
