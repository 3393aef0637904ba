"""train: fit a network to labelled images, its pruned weights held at zero."""

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.images import ImageData
from prunectl.training.recipe import Recipe
from prunectl.training.trainer import Trainer


def train(checkpoint: Checkpoint, data: ImageData, recipe: Recipe | None = None) -> Checkpoint:
    """Train to the end of the recipe; the checkpoint that comes in is not changed.

    Raises:
        DataError: the images do not fit the network.
        OptionError: the recipe cannot work, or the network was trained on what is held out now.
    """
    trainer = Trainer(checkpoint, data, recipe or Recipe())
    for _ in trainer.steps():
        pass
    return trainer.result()
