"""Square Attack: random search with outputs only, which masked gradients cannot mislead.

Andriushchenko et al. 2020, *Square Attack: a query-efficient black-box adversarial attack via random search*
(arXiv:1912.00049): algorithm 1, with algorithm 2 for the max norm and algorithm 3 for L2. Within a batch all images
share the positions of the squares and differ in their signs.
"""

import math
from typing import Any

import torch
from foolbox.attacks.base import FixedEpsilonAttack
from foolbox.distances import l2, linf
from torch import Tensor

from prunectl.robustness.attacks.criterion import flat, is_adversarial, target_classes, wanted_classes

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries, section 5
_TILES = 5  # the first perturbation under L2 is a grid of 5 x 5 tiles


def square(*, queries: int = 5000, share: float = 0.8) -> "Square":
    """Squares of +eps and -eps, in the max norm; the first square covers `share` of the image."""
    return Square(linf, queries=queries, share=share)


def l2_square(*, queries: int = 5000, share: float = 0.8) -> "Square":
    """Squares that take their norm from elsewhere in the image, in the L2 norm."""
    return Square(l2, queries=queries, share=share)


class Square(FixedEpsilonAttack):
    """The attack under a norm; an image takes no more queries once an adversarial is found."""

    def __init__(self, distance: Any, *, queries: int, share: float) -> None:
        if queries < 1 or not 0 < share <= 1:
            raise ValueError(f"expected queries of 1 or more and a share in (0, 1], got {queries} and {share}")
        self._distance, self.queries, self.share = distance, queries, share

    @property
    def distance(self) -> Any:
        """The norm that eps bounds."""
        return self._distance

    def run(self, model: Any, inputs: Any, criterion: Any, *, epsilon: float, **kwargs: Any) -> Any:
        """Images (B, C, H, W) in the ball, adversarial where one was found."""
        images: Tensor = inputs.raw
        begin, change = (_stripes, _squares) if self._distance is linf else (_tiles, _moved)
        found = begin(images, epsilon)
        lead, broken = _ask(model, found, criterion, torch.arange(len(images), device=images.device))
        for query in range(1, self.queries):
            at = (~broken).nonzero()[:, 0]
            if not len(at):
                break
            side = math.sqrt(self._part(query) * images.shape[2] * images.shape[3])
            tried = change(images[at], found[at], epsilon, side)
            higher, hit = _ask(model, tried, criterion, at)
            better = (higher > lead[at]) | hit
            found[at[better]], lead[at[better]] = tried[better], higher[better]
            broken[at[hit]] = True
        return type(inputs)(found)

    def _part(self, query: int) -> float:
        """The share of the image that the square covers at a query: halved at given parts of the budget."""
        passed = sum(query * 10_000 / self.queries > step for step in _HALVINGS)
        return self.share * 0.5**passed


def _ask(model: Any, points: Tensor, criterion: Any, at: Tensor) -> tuple[Tensor, Tensor]:
    """The lead of a wrong class (or the wanted one) (B,), and which points are adversarial (B,)."""
    with torch.no_grad():
        logits = model(points)
    classes = wanted_classes(criterion)[at][:, None]
    others = logits.scatter(1, classes, -torch.inf).amax(1)
    behind = others - logits.gather(1, classes)[:, 0]
    return behind if target_classes(criterion) is None else -behind, is_adversarial(criterion, points, logits, at)


def _signs(images: Tensor, *shape: int) -> Tensor:
    """Random +1 and -1."""
    return 2.0 * torch.randint(0, 2, shape, device=images.device) - 1


def _stripes(images: Tensor, epsilon: float) -> Tensor:
    """The first perturbation in the max norm: vertical stripes."""
    count, channels, _, width = images.shape
    return (images + epsilon * _signs(images, count, channels, 1, width)).clamp(0, 1)


def _squares(images: Tensor, found: Tensor, epsilon: float, side: float) -> Tensor:
    """Algorithm 2: in a square of each image, +eps or -eps for every channel."""
    count, channels, height, width = images.shape
    rows, columns = _window(height, width, min(max(round(side), 1), height, width))
    tried = found.clone()
    colour = epsilon * _signs(images, count, channels, 1, 1)
    tried[:, :, rows, columns] = (images[:, :, rows, columns] + colour).clamp(0, 1)
    return tried


def _window(height: int, width: int, side: int) -> tuple[slice, slice]:
    """A random square."""
    top = int(torch.randint(0, height - side + 1, ()))
    left = int(torch.randint(0, width - side + 1, ()))
    return slice(top, top + side), slice(left, left + side)


def _tiles(images: Tensor, epsilon: float) -> Tensor:
    """The first perturbation under L2: a grid of bumps with random signs."""
    count, channels, height, width = images.shape
    side = max(min(height, width) // _TILES, 1)
    grid = torch.zeros_like(images)
    bump = _bump(side, images.device)
    for top in range(0, height - side + 1, side):
        for left in range(0, width - side + 1, side):
            signs = _signs(images, count, channels, 1, 1)
            grid[:, :, top : top + side, left : left + side] = signs * bump
    return _scaled(images, grid, epsilon)


def _moved(images: Tensor, found: Tensor, epsilon: float, side: float) -> Tensor:
    """Algorithm 3: a bump in one square, with the unspent norm and the norm of another square."""
    count, channels, height, width = images.shape
    length = min(max(round(side), 3) // 2 * 2 + 1, height, width)
    here, there = _window(height, width, length), _window(height, width, length)
    change = found - images
    both = torch.zeros(height, width, dtype=torch.bool, device=images.device)
    both[here] = both[there] = True
    unspent = (epsilon**2 - change.flatten(1).square().sum(1)).clamp(min=0) / channels  # (B,)
    spent = (change * both).square().sum((2, 3), keepdim=True)  # (B, C, 1, 1)
    old = change[:, :, here[0], here[1]]
    bump = _bump(length, images.device)
    if torch.rand(()) < 0.5:
        bump = bump.T
    new = old / _norm(old, (1, 2, 3)) + _signs(images, count, channels, 1, 1) * bump
    new = new / _norm(new, (2, 3)) * (spent + flat(unspent)).sqrt()
    change[:, :, there[0], there[1]] = 0
    change[:, :, here[0], here[1]] = new
    return _scaled(images, change, epsilon)


def _scaled(images: Tensor, change: Tensor, epsilon: float) -> Tensor:
    """The change at norm epsilon, within [0, 1]."""
    return (images + change * (epsilon / _norm(change, (1, 2, 3)))).clamp(0, 1)


def _norm(tensor: Tensor, over: tuple[int, ...]) -> Tensor:
    """L2 norms over some axes, never zero."""
    return tensor.square().sum(over, keepdim=True).sqrt().clamp(min=1e-12)


def _bump(side: int, device: torch.device) -> Tensor:
    """Equation 2: one half of the square rises to its centre, the other half falls; norm 1."""
    half = side // 2
    whole = torch.cat([_peak(half, side), -_peak(side - half, side)])
    return (whole / _norm(whole, (0, 1))).to(device)


def _peak(height: int, width: int) -> Tensor:
    """Sums of 1 / (k + 1)^2 over nested rectangles around the centre that hold a pixel: (height, width)."""
    rows = (torch.arange(height) - height // 2).abs()[:, None]
    columns = (torch.arange(width) - width // 2).abs()
    ring = torch.maximum(rows.expand(height, width), columns.expand(height, width))  # the first rectangle with it
    rings = int(ring.max()) + 1 if height and width else 0
    terms = torch.tensor([1 / (k + 1) ** 2 for k in range(rings)])
    after = terms.flip(0).cumsum(0).flip(0)  # the sum of the rectangles from the k-th on
    return after[ring] if rings else torch.zeros(height, width)
