"""Training goes on after a shrink as it would have masked: ResNets pruned by SNAP-it, on real images.

Run as `python -m tests.benchmarks.continued DATA [BEFORE]`; DATA such as `imagefolder:PATH` or `cifar10` holds 3x32x32
images of 10 classes. A network is pruned, trained masked for BEFORE steps (30) on 2,000 images, and shrunk, its
optimiser carried along; then both sides train on for 20 steps on the same batches, without dropout, whose draws depend
on the width. The table shows the largest difference of their losses, and whether every parameter moved in the first
step after the shrink. Everything runs in float64 too: in float32 a sum over fewer channels rounds otherwise, and a
difference of 1e-7 may flip a max pool, after which two trainings drift apart.
"""

import copy
import sys
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from prunectl.checkpoints.options.training import Recipe
from prunectl.data.images import ImageData
from prunectl.data.load import load_data
from prunectl.masks import Masks
from prunectl.models.fresh import fresh
from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from prunectl.structure.surgery.optimizer import carry_
from prunectl.structure.surgery.plan import Plan
from prunectl.training.enforcer import Enforcer
from prunectl.training.recipe import optimizer

RECIPES = {"sgd, momentum 0.9": Recipe(opt="sgd", lr=0.05, wd=5e-4), "adam": Recipe(opt="adam", lr=1e-3)}
STEPS, BATCH = 20, 64


def batches(data: ImageData) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised batches, without end."""
    epoch = 0
    while True:
        for pixels, labels in data.train.batches(BATCH, seed=epoch):
            yield data.preprocessing(pixels), labels
        epoch += 1


def fit(model: nn.Module, opt: torch.optim.Optimizer, masks: Masks, given: list[tuple[Tensor, Tensor]]) -> list[float]:
    """Train on the batches; returns their losses."""
    enforcer, losses = Enforcer(masks, model), []
    dtype = next(model.parameters()).dtype
    for inputs, labels in given:
        loss = nn.functional.cross_entropy(model(inputs.to(dtype)), labels)
        opt.zero_grad()
        loss.backward()
        enforcer.gradients_()
        opt.step()
        enforcer.weights_()
        losses.append(float(loss))
    return losses


def compare(name: str, sparsity: float, recipe: Recipe, data: ImageData, before: int, dtype: torch.dtype) -> str:
    """One line of the table."""
    source = batches(data)
    masked = prune(fresh(name, data, source="test"), data, criterion="snapit", sparsity=sparsity)
    model = masked.model.to(dtype).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    opt = optimizer(recipe, model)
    fit(model, opt, masked.masks, [next(source) for _ in range(before)])
    other = copy.deepcopy(model)
    theirs = optimizer(recipe, other)
    theirs.load_state_dict(copy.deepcopy(opt.state_dict()))
    small = shrink(masked.after("train", {}, model=copy.deepcopy(other).float()), constants=False)
    kept = Plan.of(small.edits).kept
    new = small.model.to(dtype).train()
    if dtype == torch.float64:  # the shrink itself hands on float32
        exact = dict(other.state_dict())
        for (key, axis), left in kept.items():
            exact[key] = exact[key].index_select(axis, left)
        new.load_state_dict(exact)
    carry_(theirs, other, new, kept)
    ahead = [next(source) for _ in range(STEPS)]
    weights = [p.detach().clone() for p in new.parameters()]
    found = fit(new, theirs, small.masks, ahead[:1])
    moved = all(float((p.detach() - w).abs().max()) > 0 for p, w in zip(new.parameters(), weights, strict=True))
    found += fit(new, theirs, small.masks, ahead[1:])
    expected = fit(model, opt, masked.masks, ahead)
    apart = [abs(a - b) for a, b in zip(expected, found, strict=True)]
    count, moves = sum(p.numel() for p in new.parameters()), "yes" if moved else "NO"
    first, last = expected[0], expected[-1]
    return f"{count:,} | {first:.3f} -> {last:.3f} | {max(apart[:10]):.1e} | {max(apart):.1e} | {moves} |"


def main(data: str, before: int) -> None:
    """Print the table."""
    images = load_data(data).subset(2000, seed=0)
    print("| network | nodes pruned | optimiser | type | parameters | loss | apart, 10 steps | 20 steps | all move |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in ("resnet18", "resnet34"):
        for sparsity in (0.5, 0.75, 0.93):
            for title, recipe in RECIPES.items():
                for dtype in (torch.float32, torch.float64):
                    line = compare(name, sparsity, recipe, images, before, dtype)
                    print(f"| {name} | {sparsity} | {title} | {str(dtype)[6:]} | {line}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 30)
