"""Your own images: train/CLASS/*.jpg and test/CLASS/*.jpg (or val/, valid/), jpg, png, bmp or webp."""

from pathlib import Path

from prunectl.data.decode import decoder_like
from prunectl.data.folder import folder_data
from prunectl.data.images import ImageData
from prunectl.data.source import Progress
from prunectl.data.tree import find_tree


def imagefolder(
    root: Path, *, image_size: int | None, download: bool, progress: Progress | None, limit: int | None = None
) -> ImageData:
    """The tree at `root`, under its folder's name.

    The size is that of the first training image; images are gray where the first of every class is.
    Beyond `limit` bytes of pixels (None: half of the machine's memory) images are decoded anew each time.
    """
    tree = find_tree(root)
    firsts = dict(zip(reversed(tree.train.labels.tolist()), reversed(tree.train.paths), strict=True))
    decoder = decoder_like([tree.train.paths[0], *firsts.values()], image_size)
    return folder_data(root.resolve().name, tree, decoder, limit=limit, progress=progress)
