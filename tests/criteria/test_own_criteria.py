"""Criteria and schedules of one's own: what a scorer is handed, and what of its scores is refused."""

import re
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import nn

from prunectl.criteria.magnitude import absolute
from prunectl.errors import OptionError
from prunectl.masks import prunable
from prunectl.pruning.prune import prune
from tests.helpers.networks import checkpoint_of, fresh_checkpoint, image_data

SHAPE = (1, 8, 8)


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 36, 3)
    )


def test_rounds_take_fresh_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def spy(model: nn.Module, data: object, **options: object):
        seen.extend(float(x.sum()) for x, _ in islice(data, 2))
        return absolute(model, data)

    from prunectl.criteria import snip
    from prunectl.criteria.base.criterion import Criterion

    monkeypatch.setattr(snip, "snipit", Criterion(spy, schedule="snipit", scope="global", source="test"))
    prune(fresh_checkpoint(network, SHAPE), image_data(64), criterion="snipit", sparsity=0.9, steps=1, batch_size=16)
    assert len(seen) == len(set(seen)) == 6


def test_a_scorer_that_runs_the_network_leaves_the_statistics_of_its_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    def spy(model: nn.Module, data: object, **options: object):
        model(next(iter(data))[0])
        return absolute(model, data)

    from prunectl.criteria import snip
    from prunectl.criteria.base.criterion import Criterion

    monkeypatch.setattr(snip, "snip", Criterion(spy, schedule="one-shot", scope="global", source="test"))
    start = fresh_checkpoint(network, SHAPE)
    pruned = prune(start, image_data(64), criterion="snip", sparsity=0.5, batch_size=16)
    for name, buffer in pruned.model.named_buffers():
        assert torch.equal(buffer, start.model.get_buffer(name)), name
    assert [module.training for module in pruned.model.modules()] == [m.training for m in start.model.modules()]


def test_a_scorer_in_place_of_a_criterion_is_refused() -> None:
    start = fresh_checkpoint(network, SHAPE)
    with pytest.raises(OptionError, match="is a function, expected a prunectl"):
        prune(start, image_data(), criterion="prunectl.criteria.snip:elasticity", sparsity=0.5)
    with pytest.raises(OptionError, match="must be 2 or more for scores"):
        prune(start, image_data(), criterion="snip", sparsity=0.5, batch_size=1)


OWN = """
import torch
from prunectl.criteria.base.criterion import Criterion
from prunectl.scores import Scores

SHAPES = {shapes}

def scorer(model, batches, *structure):
    return Scores({{name: torch.rand(shape) for name, shape in SHAPES.items()}}, nodes=torch.rand({nodes}))

own = Criterion(scorer, schedule="one-shot", scope="global", source="here", unit="{unit}", needs_data=False)
"""


@pytest.mark.parametrize(
    ("shapes", "nodes", "unit", "message"),
    [
        ({"1.weight": (4, 64)}, 0, "weights", "3.weight: expected a tensor of shape [3, 4], found none"),
        ({"1.weight": (256,)}, 0, "weights", "1.weight: expected a tensor of shape [4, 64], found [256]"),
        (
            {"1.weight": (4, 64), "3.weight": (3, 4), "3.bias": (3,)},
            0,
            "weights",
            "3.bias: expected a tensor of shape none, found [3]",
        ),
        ({}, 5, "nodes", "nodes: expected a tensor of shape [4], found [5]"),
    ],
)
def test_scores_of_ones_own_that_do_not_fit_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shapes: dict[str, tuple[int, ...]],
    nodes: int,
    unit: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    Path("own.py").write_text(OWN.format(shapes=shapes, nodes=nodes, unit=unit))
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 3))
    with pytest.raises(OptionError, match=re.escape(message)):
        prune(checkpoint_of(model, SHAPE), None, criterion="own.py:own", sparsity=0.5)


LOOPS = """
import torch
from prunectl import Criterion, Scores
from prunectl.masks import prunable

def looped(model, batches):
    first, again = sum(1 for _ in batches), sum(1 for _ in batches)
    next(batches), next(batches)
    return Scores({name: w.abs() + first + 100 * again for name, w in prunable(model).items()})

def asked(model, data, *, OPTION):
    return looped(model, data)

own = Criterion(asked, schedule="SCHEDULE", scope="global", source="own")
falls = lambda target, *, steps: (0.9, target)
nothing = lambda target, *, steps: ()
beyond = lambda target, *, steps: (target / 2, target + 0.1)
"""


@pytest.mark.parametrize(("option", "count"), [("batches=3", 3), ("images=3", 4)])
def test_a_loop_over_batches_ends(tmp_path, monkeypatch, option: str, count: int) -> None:
    """After as many as `batches` says, else after one pass: 60 images in batches of 16 are 4."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    Path("own.py").write_text(LOOPS.replace("OPTION", option).replace("SCHEDULE", "one-shot"))
    kept = []
    start = checkpoint_of(network(), SHAPE)
    prune(start, image_data(), criterion="own.py:own", sparsity=0.5, batch_size=16, keep_scores=kept.append)
    name, weight = next(iter(prunable(start.model).items()))
    assert torch.allclose(kept[0][name] - weight.abs(), torch.full_like(weight, 101 * count), atol=1e-4)


def test_scores_that_are_kept_are_those_from_before_the_masks() -> None:
    kept, start = [], checkpoint_of(network(), SHAPE)
    prune(start, None, criterion="magnitude", sparsity=0.5, keep_scores=kept.append)
    assert all(torch.equal(kept[0][name], weight.abs()) for name, weight in prunable(start.model).items())


@pytest.mark.parametrize(("name", "found"), [("falls", "0.9, 0.3"), ("nothing", "none"), ("beyond", "0.15, 0.4")])
def test_a_schedule_of_ones_own_that_does_not_rise_to_the_target(tmp_path, monkeypatch, name: str, found: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    Path("own.py").write_text(LOOPS.replace("OPTION", "batches=1"))
    message = f"schedule own.py:{name}: expected sparsities in [0, 1) that rise to the target 0.3, found {found}"
    with pytest.raises(OptionError, match=re.escape(message)):
        prune(checkpoint_of(network(), SHAPE), None, criterion="magnitude", sparsity=0.3, schedule=f"own.py:{name}")


def test_a_scorer_may_return_a_plain_dictionary(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(
        "from prunectl import Criterion\nfrom prunectl.masks import prunable\n"
        "def sizes(model, data):\n    return {name: p.detach().abs() for name, p in prunable(model).items()}\n"
        "own = Criterion(sizes, schedule='one-shot', scope='global', source='', needs_data=False)\n"
        "def number(model, data):\n    return 3\n"
        "wrong = Criterion(number, schedule='one-shot', scope='global', source='', needs_data=False)\n"
    )
    start = checkpoint_of(network(), SHAPE)
    own, same = (
        prune(start, None, criterion=name, sparsity=0.5, schedule="one-shot") for name in ("own.py:own", "magnitude")
    )
    assert all(torch.equal(own.masks[name], mask) for name, mask in same.masks.items())
    with pytest.raises(OptionError, match=r"returned an object of type int, expected prunectl\.Scores"):
        prune(start, None, criterion="own.py:wrong", sparsity=0.5)


@pytest.mark.parametrize(
    ("scorer", "changes", "message"),
    [
        (lambda model: None, {}, r"callable as scorer\(model, data, \*\*options\)"),
        (lambda model, data: None, {"unit": "nodes"}, r"callable as scorer\(model, data, structure, \*\*options\)"),
        (lambda model, data: None, {"regrow_value": "zero"}, r"callable as scorer\(model, data, round, \*\*options\)"),
        (lambda model, data: None, {"schedule": len}, "`schedule` of a Criterion must be a name, such as one-shot"),
    ],
)
def test_what_a_criterion_cannot_be_made_of(scorer, changes, message: str) -> None:
    from prunectl import Criterion

    with pytest.raises(OptionError, match=message):
        Criterion(scorer, **{"schedule": "one-shot", "scope": "global", "source": "", **changes}).check()
