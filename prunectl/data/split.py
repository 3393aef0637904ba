"""Holds out a part of each class for testing if a dataset has no test images."""

import hashlib
from collections.abc import Sequence

from prunectl.errors import OptionError

DEFAULT_SPLIT = 0.1
_SEED = "prunectl 2006.00896"  # the test images must not move with the user's seed


def check_split(share: float) -> None:
    """Refuse a share outside (0, 1).

    Raises:
        OptionError: it is outside.
    """
    if not 0 < share < 1:
        raise OptionError(f"`split` takes a share of the images in (0, 1), such as 0.1, got {share:g}")


def held_out(names: Sequence[str], share: float) -> tuple[list[int], list[int]]:
    """Split the images of one class into positions to train on and to test on, both ascending.

    An image's name decides its place in a fixed order: every machine holds out the same images, a larger share includes
    the images of a smaller one, and new images hardly move the others. A class of two images or more keeps at least one
    on either side; the only image of a class is trained on.
    """
    wanted = min(max(1, int(len(names) * share + 0.5)), len(names) - 1)
    chosen = set(sorted(range(len(names)), key=lambda i: _place(names[i]))[:wanted])
    return [i for i in range(len(names)) if i not in chosen], sorted(chosen)


def held_out_of_classes(names: Sequence[str], labels: Sequence[int], share: float) -> tuple[list[int], list[int]]:
    """Split images with labels, class by class."""
    train: list[int] = []
    test: list[int] = []
    members: dict[int, list[int]] = {}
    for i, label in enumerate(labels):
        members.setdefault(label, []).append(i)
    for positions in members.values():
        kept, held = held_out([names[i] for i in positions], share)
        train += [positions[i] for i in kept]
        test += [positions[i] for i in held]
    return sorted(train), sorted(test)


def _place(name: str) -> bytes:
    return hashlib.sha256(f"{_SEED}\0{name}".encode(errors="surrogateescape")).digest()
