"""Your own images: train/CLASS/*.jpg and test/CLASS/*.jpg (or val/, valid/), in any format that Pillow opens."""

from dataclasses import replace
from pathlib import Path

from prunectl.data.decode import MOST_HIGH, decoder_like
from prunectl.data.folder import folder_data
from prunectl.data.images import ImageData
from prunectl.data.source import NetworkInput, Progress
from prunectl.data.tree import find_tree

_LOOKED_AT = 64


def imagefolder(
    root: Path,
    *,
    image_size: int | None,
    download: bool,
    progress: Progress | None,
    limit: int | None = None,
    split: float | None = None,
    direct: bool = False,
    network: NetworkInput | None = None,
) -> ImageData:
    """Your own images, in any format of Pillow: PATH/train/CLASS/*.jpg and PATH/test/ or val/, else PATH/CLASS/*.jpg.

    The dataset is named after the folder `root`. The size is that of most images in a sample, 1024 at most; images are
    gray if the first of every class is. Beyond `limit` bytes of pixels (None: half of the machine's memory) images are
    decoded again each time. Without test images, `split` of each class is held out, by default a tenth; if the user
    named the tree (`direct`), it may also lack train/. Files are resized by the rule of `network`, if there is one.
    """
    tree = find_tree(root, split=split, flat=direct)
    firsts = dict(zip(reversed(tree.train.labels.tolist()), reversed(tree.train.paths), strict=True))
    rule = () if network is None else (network.crop, network.interpolation)
    paths, count = tree.train.paths, min(_LOOKED_AT, len(tree.train.paths))
    spread = [paths[i * len(paths) // count] for i in range(count)]
    decoder = decoder_like([paths[0], *firsts.values()], image_size, *rule, more=spread)
    if image_size is None and decoder.size == MOST_HIGH:
        notice = f"{root}: images are resized to {MOST_HIGH} x {MOST_HIGH} pixels; --image-size changes this"
        tree = replace(tree, notices=(*tree.notices, notice))
    return folder_data(root.resolve().name, tree, decoder, limit=limit, progress=progress)
