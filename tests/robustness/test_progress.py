"""Progress through a batch."""

import itertools

from prunectl.robustness.attack import Attacker
from prunectl.robustness.progress import Progress
from tests.helpers.networks import checkpoint_of
from tests.helpers.one_pixel import SHAPE, pixels, threshold


class Steps:
    """An attack of at most four passes."""

    steps = 4


def test_parts_and_passes_within_them_count_by_the_images_of_the_batch():
    seen = []
    progress = Progress(lambda images, what: seen.append((images, what)), before=100, images=40, parts=2)
    progress.begin("pgd", Steps())
    progress.seen()
    progress.begin("square", Steps())
    for _ in range(6):  # more than its options tell
        progress.seen()
    assert [images for images, _ in seen] == [105, 125, 130, 135, 140, 140, 140]
    assert [seen[0][1], seen[-1][1]] == ["pgd, 1 passes", "square, 7 passes"]


def test_the_first_batch_moves():
    seen = []
    checkpoint = checkpoint_of(threshold(), SHAPE, 2)
    attacker = Attacker(
        checkpoint, pixels(), attack="quick", eps=[0.1, 0.3], watch=lambda images, what: seen.append((images, what))
    )
    next(attacker.batches())
    done = [images for images, _ in seen]
    assert done[0] == 0
    assert len(set(done)) > 5
    assert all(a <= b <= 4 for a, b in itertools.pairwise(done))
    assert {what.partition(",")[0] for _, what in seen} == {"checks", "fgsm", "linf-pgd"}
    assert not checkpoint.model._forward_pre_hooks
