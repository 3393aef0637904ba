"""What a stranger writes into a history neither runs code nor leads out of the new folder."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunectl.checkpoints.header import DenseCounts, Header, ModelSpec
from prunectl.checkpoints.history import HistoryEntry
from prunectl.checkpoints.lineage import check_safe, steps_of
from prunectl.checkpoints.options.option import entries
from prunectl.checkpoints.options.table import COMMANDS, RECORDS, parameters
from prunectl.cli import in_process
from prunectl.errors import PrunectlError
from tests.helpers.checkpoint_parts import change, put

CODE = 'from pathlib import Path\nPath("ran").touch()\n'
REFUSED = {
    "a network among the options": (("model", "x.py:build"), "'model' is not an option of a history"),
    "a network among the controls": (
        ("controls", ["model=x.py:build"]),
        "shuffle-layerwise, reinit, found 'model=x.py:build'",
    ),
    "data among the controls": (
        ("controls", ["data=x.py:images"]),
        "shuffle-layerwise, reinit, found 'data=x.py:images'",
    ),
    "an optimiser among the controls": (
        ("controls", ["opt=x.py:Adam"]),
        "shuffle-layerwise, reinit, found 'opt=x.py:Adam'",
    ),
    "a folder elsewhere": (
        ("controls", ["tensorboard-dir=../elsewhere"]),
        "shuffle-layerwise, reinit, found 'tensorboard-dir=",
    ),
    "a file to open": (("controls", ["config=/etc/passwd"]), "shuffle-layerwise, reinit, found 'config=/etc/passwd'"),
    "an output": (("output", "../x.safetensors"), "'output' is not an option of a history"),
    "a folder of data": (("data_dir", "/"), "'data_dir' is not an option of a history"),
    "an option of another command": (("prune_delay", 3), "'prune_delay' is not an option of a history"),
    "a criterion of its own": (("criterion", "x.py:score"), "names criterion 'x.py:score', whose code would run"),
    "a schedule of its own": (("schedule", "x.py:all"), "names schedule 'x.py:all', whose code would run"),
    "images of its own": (("data", {"name": "x", "source": "x.py:images"}), "names data 'x.py:images', whose code"),
    "a change of images": (("data", {"name": "digits", "config": "/x"}), "'config' is not an option of a history"),
    "a change with a flag": (
        ("data", {"name": "digits", "subset": "1 --force"}),
        "'data.subset': expected a whole num",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_history_that_would_do_more_than_compute_is_refused(name, tiny, refused, tmp_path) -> None:
    (tmp_path / "x.py").write_text(CODE)
    (key, value), said = REFUSED[name]
    change(tiny, put("history", 0, "options", key, value))
    assert said in refused("rerun", tiny.name)
    assert not (tmp_path / "ran").exists()


def test_a_network_of_its_own_is_refused(tiny, refused, tmp_path) -> None:
    (tmp_path / "x.py").write_text(CODE)
    change(tiny, put("model", "name", "x.py:build"))
    assert "names model 'x.py:build', whose code would run" in refused("rerun", tiny.name)
    assert not (tmp_path / "ran").exists()


def test_no_recorded_option_names_a_place() -> None:
    """Parameters of a command line that hold paths, or that replace files, are none that a history can set."""
    places = {"output_path", "config", "data_dir", "resume", "tensorboard_dir", "checkpoint", "force", "scores_out"}
    for command in COMMANDS:
        assert not parameters(command) & places, command


KEYS = sorted({entry.key for command in COMMANDS for record in RECORDS[command] for entry in entries(record)})
EVIL = ["model", "config", "tensorboard_dir", "output_path", "-o", "--config", "x=1", "", "force", "resume"]
VALUES = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        3,
        0.5,
        "x",
        "--config=/x",
        "x.py:y",
        "reinit",
        ["reinit"],
        ["--force"],
        {"a": 1},
        {"-o": "x"},
    ]
)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(COMMANDS),
    st.dictionaries(st.sampled_from([*KEYS, *EVIL]), VALUES, max_size=5),
    st.none() | st.dictionaries(st.sampled_from(["name", "source", "tuning", "subset", *EVIL]), VALUES, max_size=3),
)
def test_whatever_a_history_holds_sets_recorded_parameters_alone(command, options, data) -> None:
    try:
        entry = HistoryEntry.from_json({"command": command, "options": {**options, "data": data}})
        head = Header(
            ModelSpec("mlp5", (1, 8, 8), 10), "digits", (0.5,), (1.0,), DenseCounts(1, 1, 1, 1), 1, (), (entry,)
        )
        steps = steps_of(head, None, "x")
        check_safe(steps, in_process.read, "x")
    except (ValueError, PrunectlError) as error:
        assert "\n" not in str(error)
        return
    params, unset = in_process.read(steps[0].arguments), in_process.read([command])
    assert {key for key in params if params[key] != unset.get(key)} <= parameters(command)
    assert not any(":" in str(params.get(key)) for key in ("model", "data", "opt", "reg", "criterion", "schedule"))
