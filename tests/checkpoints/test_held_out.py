"""A network is not measured on held-out images that it was trained on, and test images are not for making choices."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.history import HistoryEntry
from prunectl.data.images import ImageData
from prunectl.errors import OptionError
from tests.helpers.networks import checkpoint_of, image_data

WHOLE = {"data": {"name": "test"}, "steps": 4}
TUNED = {"data": {"name": "test", "tuning": True}, "steps": 4}
OF_OTHERS = [{"data": {"name": name}, "steps": 4} for name in ("a set before it", "zebras after it")]
HELD_OUT_OF_OTHERS = [{**other, "data": {**other["data"], "tuning": True}} for other in OF_OTHERS]


def after(*commands: tuple[str, Mapping[str, Any]]) -> Checkpoint:
    """A network with a history as a file gives it."""
    history = tuple(HistoryEntry(command, json.loads(json.dumps(options))) for command, options in commands)
    return replace(checkpoint_of(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), (1, 8, 8)), history=history)


def trained(*options: Mapping[str, Any]) -> Checkpoint:
    return after(*(("train", each) for each in options))


SEEN = {
    "trained on all": trained(WHOLE),
    "and pruned": after(("train", WHOLE), ("prune", {})),
    "on all of them last": trained(TUNED, WHOLE),
    "on all of them first": trained(WHOLE, TUNED),
    "one step": trained({**WHOLE, "steps": 1}),
}
UNSEEN = {
    "fresh": after(),
    "held out": trained(TUNED, TUNED),
    "not one step": trained({**WHOLE, "steps": 0}),
    "steps unknown": trained({"data": WHOLE["data"]}),
    "images unknown": trained({"steps": 4}),
    "pruned by them": after(("prune", WHOLE)),
    "a command of another kind": after(("zip", WHOLE)),
    "other images": trained(*OF_OTHERS),
}


@pytest.mark.parametrize("name", SEEN)
def test_images_held_out_now_that_a_network_has_seen_are_refused(name: str) -> None:
    with pytest.raises(OptionError, match="`tuning` measures on training images, and this network was trained on them"):
        SEEN[name].check_held_out(image_data().tuning())
    SEEN[name].check_held_out(image_data())


@pytest.mark.parametrize("name", UNSEEN)
def test_images_held_out_that_a_network_has_not_seen_are_fine(name: str) -> None:
    UNSEEN[name].check_held_out(image_data().tuning())
    UNSEEN[name].check_held_out(image_data().tuning().subset(9, 0))


CHOOSING = {
    "held out": trained(TUNED),
    "and pruned": after(("train", TUNED), ("prune", WHOLE)),
    "held out last": trained(WHOLE, TUNED),
    "other images last": trained(TUNED, *OF_OTHERS),
}
CHOSEN = {
    "fresh": after(),
    "trained on all": trained(WHOLE),
    "all of them last": trained(TUNED, TUNED, WHOLE),
    "not one step": trained({**TUNED, "steps": 0}),
    "steps unknown": trained({"data": TUNED["data"]}),
    "images unknown": trained({"steps": 4}),
    "pruned by them": after(("prune", TUNED)),
    "a command of another kind": after(("zip", TUNED)),
    "other images held out": trained(*HELD_OUT_OF_OTHERS),
}


def doubts(checkpoint: Checkpoint, data: ImageData) -> list[str]:
    return [text.partition(", but")[0] for text in checkpoint.doubts_of(data)]


@pytest.mark.parametrize("name", CHOOSING)
def test_test_images_of_a_network_that_others_were_held_out_of_are_doubted(name: str) -> None:
    assert doubts(CHOOSING[name], image_data()) == ["these are the test images"]
    assert doubts(CHOOSING[name], image_data().subset(9, 0)) == ["these are the test images"]
    assert doubts(CHOOSING[name], image_data().tuning()) == []


@pytest.mark.parametrize("name", CHOSEN)
def test_test_images_of_any_other_network_are_not_doubted(name: str) -> None:
    assert doubts(CHOSEN[name], image_data()) == []
