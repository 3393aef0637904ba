"""Every command that reads a file survives every file: one line, in time, and nothing is written elsewhere."""

import json
import os
import time
from pathlib import Path

import pytest

from prunectl.checkpoints.texts import DEPTH, MOST_LINES, parsed, parsed_toml
from tests.helpers.checkpoint_parts import change, put
from tests.helpers.fuzzing import base, campaign
from tests.helpers.mutations import DEEP


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("intact")
    base(folder)
    return folder


def test_damaged_files_of_every_kind_end_in_one_line(intact: Path, tmp_path: Path) -> None:
    found = campaign(intact, tmp_path, 45, seed=0, pages=0)
    assert found.clean, str(found)


@pytest.mark.slow
def test_a_hundred_thousand_damaged_files(intact: Path, tmp_path: Path) -> None:
    found = campaign(intact, tmp_path, 100_000, seed=1)
    assert found.clean, str(found)


def test_json_and_toml_nested_too_deep_are_refused() -> None:
    for text in (DEEP, DEEP.encode(), "[" * (DEPTH + 2) + "]" * (DEPTH + 2), '{"a":' * 50 + "1" + "}" * 50):
        with pytest.raises(ValueError, match="nested too deep"):
            parsed(text)
    for text in (f"a = {DEEP}", "a = " + "[" * 40 + "]" * 40):
        with pytest.raises(ValueError, match="nested too deep"):
            parsed_toml(text)
    assert parsed("[" * DEPTH + "]" * DEPTH) and parsed(json.dumps([{"a": [i]} for i in range(100)]))


def test_a_history_without_end_is_refused(tiny: Path, refused) -> None:
    entry = {"command": "shrink", "options": {}, "parent": None}
    change(tiny, put("history", [entry] * 100_000))
    began = time.process_time()
    assert "history: expected at most 1,000 entries, found 100,000" in refused("inspect", tiny.name)
    assert time.process_time() - began < 10


def test_a_log_without_end_is_left_out_and_a_byte_that_is_no_text_is_a_line(tiny: Path, raw, tmp_path: Path) -> None:
    (tmp_path / "tiny.log.jsonl").write_text('{"step": 1, "loss": 2.0}\n' * 250_000)
    (tmp_path / "tiny.results.jsonl").write_bytes(
        b'{"command": "eval"}\n\xff\n{"command": "eval", "data": {"name": 3}}\n'
    )
    ran = raw("report", tiny.name)
    assert ran.code == 0
    assert f"tiny.log.jsonl has more than {MOST_LINES:,} lines" in ran.err
    assert "tiny.results.jsonl: line 2 is not a complete record; left out" in ran.err
    assert "line 1, 'data' is missing; left out" in ran.err
    assert "line 3, 'data': expected an object with a 'name', found an object; left out" in ran.err
    assert raw("log", tiny.name).code == 0


def test_a_plan_of_millions_of_pipelines_is_refused(refused, tmp_path: Path) -> None:
    grid = "\n".join(f"{key} = {list(range(200))}" for key in "abc")
    run = "train --model mlp5 --seed {a} --epochs {b} -b {c}"
    (tmp_path / "plan.toml").write_text(f'[grid]\n{grid}\n[pipelines]\nx = "{run}"\n')
    assert "makes 8,000,000 pipelines with all values" in refused("sweep", "plan.toml", "-o", "out")
    (tmp_path / "plan.toml").write_text(f"a = {DEEP}")
    assert "nested too deep" in refused("sweep", "plan.toml", "-o", "out")
    (tmp_path / "config.toml").write_text(f"[train]\nlr = {DEEP}")
    assert "nested too deep" in refused("train", "--model", "mlp5", "--config", "config.toml")


@pytest.mark.parametrize("text", ['"\\ud800"', '{"\\uDABC": 1}', '["a", {"b": "x\\udfffy"}]'])
def test_half_a_surrogate_pair_is_refused_at_the_door(text):
    with pytest.raises(ValueError, match="a text in it is not Unicode"):
        parsed(text)
    with pytest.raises(ValueError, match="a text in it is not Unicode"):
        parsed(text.encode())


@pytest.mark.parametrize("text", ['"a\\u0000"', '{"\\u0000": 1}', '["a", {"b": "x\\u0000y"}]'])
def test_a_zero_character_which_no_path_takes_is_refused_at_the_door(text):
    for given in (text, text.encode()):
        with pytest.raises(ValueError, match="a text in it has a zero character"):
            parsed(given)
    with pytest.raises(ValueError, match="a text in it has a zero character"):
        parsed_toml(f"[prune]\nkeep = [{text}]" if text[0] == '"' else '"\\u0000" = 1')
    assert parsed(json.dumps("a literal \\u0000")) == "a literal \\u0000"


@pytest.mark.parametrize("field", ["names", "edits", "mean", "std"])
def test_lists_of_a_header_are_lists(tiny: Path, refused, field: str) -> None:
    change(tiny, put(field, {}))
    assert f"under {field};" in refused("inspect", tiny.name).replace(")", ";")
    change(tiny, put(field, None))
    assert "damaged prunectl header" in refused("inspect", tiny.name)


def test_whole_pairs_and_bytes_in_names_of_files_are_text():
    assert parsed('"\\ud83d\\ude00"') == "\U0001f600"
    assert parsed(json.dumps(os.fsdecode(b"a\xff"))) == os.fsdecode(b"a\xff")
