"""Your own images: train/CLASS/*.jpg and test/CLASS/*.jpg (or val/, valid/), jpg, png, bmp or webp."""

from pathlib import Path

from prunectl.data.decode import decoder_like
from prunectl.data.folder import folder_data
from prunectl.data.source import Progress
from prunectl.data.tree import find_tree
from prunectl.images import ImageData


def imagefolder(
    root: Path, *, image_size: int | None, download: bool, progress: Progress | None, limit: int | None = None
) -> ImageData:
    """The tree at `root`, under its folder's name; colour and size are those of the first training image.

    Beyond `limit` bytes of pixels (None: half of the machine's memory) images are decoded anew each time.
    """
    tree = find_tree(root)
    decoder = decoder_like(tree.train.paths[0], image_size)
    return folder_data(root.resolve().name, tree, decoder, limit=limit, progress=progress)
