"""A history is checked where it is read: what a stranger wrote there is one line, whichever command reads it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunectl.checkpoints.history import HistoryEntry
from tests.helpers.checkpoint_parts import change, put

WHOLE = {"command": "train", "options": {"epochs": 1, "steps": 4, "total_steps": 4}, "parent": None}
BROKEN = {
    "no entry": ({}, "'command' is missing"),
    "no object": (5, "expected an object, found 5"),
    "no options": ({"command": "train"}, "'options' is missing"),
    "no command": ({"options": {}}, "'command' is missing"),
    "an unknown field": ({**WHOLE, "secret": 1}, "unknown field 'secret'"),
    "a command that is no word": ({**WHOLE, "command": 3}, "'command': expected a word, found 3"),
    "options that are no object": ({**WHOLE, "options": []}, "'options': expected an object, found a list"),
    "a result that is no object": ({**WHOLE, "result": 4}, "'result': expected an object, found 4"),
    "threads of nothing": ({**WHOLE, "threads": 0}, "'threads': expected 1 to 1024, found 0"),
    "versions that are no texts": ({**WHOLE, "versions": {"torch": 2}}, "'versions': expected an object of texts"),
    "a parent that is no text": ({**WHOLE, "parent": 1}, "'parent': expected a text or nothing, found 1"),
    "steps that are no number": (
        {**WHOLE, "options": {"steps": "4"}},
        "'options.steps': expected a whole number, found a text",
    ),
    "more steps than there are": (
        {**WHOLE, "options": {"steps": 5, "total_steps": 4}},
        "'options.steps' is more than 'options.total_steps'",
    ),
    "data without a name": (
        {**WHOLE, "options": {"data": {"tuning": True}}},
        "'options.data': expected nothing or an object with a 'name', found an object",
    ),
    "an option that is nested": ({**WHOLE, "options": {"x": {"y": 1}}}, "'options.x': expected a plain value"),
    "a sparsity that is a text": (
        {"command": "prune", "options": {"sparsity": "0.5"}},
        "'options.sparsity': expected a number, found a text",
    ),
    "a number that is none": (
        {**WHOLE, "result": {"weight_sparsity": float("nan")}},
        "'result.weight_sparsity': expected a number, found nan",
    ),
    "a shrink without its nodes": (
        {"command": "shrink", "options": {}, "result": {"removed": 3}},
        "'result.nodes' is missing",
    ),
    "events that are no list": ({**WHOLE, "result": {"events": {}}}, "'result.events': expected a list of objects"),
    "an event without its epoch": (
        {**WHOLE, "result": {"events": [{"weight_sparsity": 0.5}]}},
        "'result.events, 1.epoch' is missing",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_entry_says_what_is_wrong_with_it(name) -> None:
    entry, said = BROKEN[name]
    with pytest.raises(ValueError) as error:
        HistoryEntry.from_json(entry)
    assert said in str(error.value)


COMMANDS = (
    *("eval", "inspect", "report", "explain", "diff {0}", "log", "rerun", "shrink"),
    *("prune --criterion magnitude --sparsity 0.999", "train --epochs 1"),
)


@pytest.mark.parametrize("entries", [[{}], {}, [{"command": "train"}], [[]], [None], [WHOLE, 7]], ids=str)
def test_every_command_refuses_a_broken_history_in_one_line(tiny, refused, entries) -> None:
    change(tiny, put("history", entries))
    for command in COMMANDS:
        line = refused(*command.format(tiny.name).split(), tiny.name)
        assert "has a damaged prunectl header (history" in line, command
        assert "use an intact copy" in line


def test_a_shrunk_file_without_its_nodes_is_one_line(net, refused) -> None:
    small = net.with_name("net.prune.shrink.safetensors")

    def forget(head: dict) -> None:
        for entry in head["history"]:
            entry.pop("result", None)

    change(small, forget)
    for command in COMMANDS:
        assert "nodes left in history" in refused(*command.format(small.name).split(), small.name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(
    st.sampled_from(["command", "options", "result", "versions", "threads", "parent", "other"]), JSON, max_size=6
)
OPTIONS = st.dictionaries(
    st.sampled_from(["steps", "total_steps", "data", "sparsity", "criterion", "options", "augment", "x"]),
    JSON,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(FIELDS, OPTIONS, st.booleans())
def test_any_entry_is_read_whole_or_refused(fields, options, fitting) -> None:
    values = {**fields, **({"command": "train", "options": options} if fitting else {})}
    try:
        entry = HistoryEntry.from_json(values)
    except ValueError as error:
        assert "\n" not in str(error)
        return
    text = json.dumps(entry.to_json(), allow_nan=False)
    assert HistoryEntry.from_json(json.loads(text)) == entry
