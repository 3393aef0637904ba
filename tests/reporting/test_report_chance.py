"""A network at chance after its training is a notice, with what of its pruning explains it."""

from dataclasses import replace

import pytest

from prunectl.reporting.chance import chance_notices
from prunectl.reporting.curves import settings
from prunectl.reporting.sources import collect
from tests.helpers.report_folders import TRAIN, checkpoint, measure

PRUNE, LATER = ("prune", {"criterion": "grasp", "sparsity": 0.98, "seed": 0}), ("train", {**TRAIN, "seed": 0})
GUESSED = {"images": 1000, "confusion": [[500, 0], [500, 0]]}
SAID = "net: 50.00% after training, no better than one answer for all images"


def _source(folder, *steps, accuracy=0.5, tensors=None, result=None, **more):
    path = checkpoint(folder, "net", *steps, weights=2)
    measure(path, accuracy, **{**GUESSED, **more})
    (source,) = collect([path]).given
    history = [{**entry, **({"result": result} if result else {})} for entry in source.seen["history"]]
    return replace(source, seen={**source.seen, "history": history, "tensors": tensors or source.seen["tensors"]})


def _layers(**kept):
    return [{"name": f"{name}.weight", "shape": [10, 100], "kept": count, "bytes": 0} for name, count in kept.items()]


@pytest.mark.parametrize(
    ("kept", "result", "because"),
    [
        ({"fc1": 500, "fc2": 500}, {}, ""),
        ({"fc1": 500, "fc2": 0}, {}, ": no weight is left in fc2"),
        ({"fc1": 0, "fc2": 0, "fc3": 0, "fc4": 0}, {}, ": no weight is left in fc1, fc2, fc3 and 1 more"),
        ({"fc1": 500, "fc2": 3}, {}, ": fc2 keeps 3 of 1,000 weights"),
        ({"fc1": 500}, {"unreached_classes": [1, 2]}, ": no kept weight leads to 2 of 10 classes"),
    ],
)
def test_the_cause_is_named_where_it_is_known(kept, result, because, tmp_path):
    source = _source(tmp_path, PRUNE, LATER, tensors=_layers(**kept), result=result)
    assert chance_notices([source]) == [SAID + because]


@pytest.mark.parametrize(
    ("steps", "more"),
    [
        ((PRUNE, LATER), {"accuracy": 0.54}),  # more than 2 deviations of guessing, 1.6 % each
        ((PRUNE, LATER), {"images": 10, "accuracy": 0.9, "confusion": [[5, 0], [1, 4]]}),
        ((LATER, PRUNE), {}),  # not trained yet
        ((LATER,), {}),  # a dense network
        ((PRUNE, ("train", {**TRAIN, "steps": 0, "seed": 0})), {}),
        ((PRUNE, LATER), {"confusion": None}),
    ],
)
def test_other_networks_have_no_notice(steps, more, tmp_path):
    assert chance_notices([_source(tmp_path, *steps, **more)]) == []


def test_it_is_one_of_the_notices_of_a_report(tmp_path):
    path = checkpoint(tmp_path, "net", PRUNE, LATER, weights=2)
    measure(path, 0.5, **GUESSED)
    assert SAID in settings(collect([path]))[1]
