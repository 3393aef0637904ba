"""The headline of the page names what pruning was asked to save, and says how times were measured."""

from dataclasses import replace

import pytest

from prunectl.reporting.curves import settings
from prunectl.reporting.findings import Look, Speed, Timing
from prunectl.reporting.page.data import page_data
from prunectl.reporting.page.headline import answer
from prunectl.reporting.page.sections import trade_off
from prunectl.reporting.page.sections.overview import overview_section
from prunectl.reporting.sources import collect
from tests.helpers.report_folders import TRAIN, checkpoint, measure

DENSE = ("train", {**TRAIN, "seed": 0})
LATER = ("train", {**TRAIN, "seed": 1})
PARAMETERS, ACCURACY = "1.8× fewer nonzero parameters", "88.0\u00a0% (\u22122.0)"
TIMES = [{"batch": 1, "median_s": 0.0005, "runtime": "eager"}, {"batch": 1, "median_s": 0.0001, "runtime": "onnx"}]


def _pruned(folder, target, result=None, name="pruned", **measured):
    """A dense network and one that was pruned to a target, to half of the weights, and trained."""
    prune = ("prune", {"criterion": "taylor", "seed": 0, **target})
    if not (folder / "dense.safetensors").exists():
        measure(checkpoint(folder, "dense", DENSE), 0.9, bytes=400)
    path = checkpoint(folder, name, DENSE, prune, LATER, weights=50)
    measure(path, 0.88, kept=50, **measured)
    sources = collect([folder])
    if result is None:
        return sources
    return replace(sources, given=tuple(_with_result(one, result) for one in sources.given))


def _with_result(source, result):
    history = [
        {**entry, "result": result} if entry["command"] == "prune" else entry for entry in source.seen["history"]
    ]
    return replace(source, seen={**source.seen, "history": history})


def _words(sources):
    (setting,), _ = settings(sources)
    return answer(setting, sources.every).words


@pytest.mark.parametrize(
    ("target", "result", "first"),
    [
        ({"sparsity": 0.5}, {"weight_sparsity": 0.5}, None),
        ({"params": "2x"}, {}, None),
        ({"sparsity": 0.2}, {"weight_sparsity": 0.5, "node_sparsity": 0.2}, "1.2× fewer nodes"),
        ({"flops": "2x"}, {}, "2.0× fewer FLOPs without pruned weights"),
        ({"size": "0.5x"}, {}, "2.0× smaller when compressed"),
        ({"latency": "2x"}, {"latency": 0.4}, "2.5× faster once shrunk"),
        ({"latency": "2x"}, {}, "2.0× faster once shrunk"),
    ],
)
def test_it_begins_with_what_was_asked_for(target, result, first, tmp_path):
    sources = _pruned(tmp_path, target, result, latency=TIMES, node_sparsity=0.2)
    assert _words(sources) == (*([first] if first else []), PARAMETERS, ACCURACY)


def test_an_accuracy_that_was_asked_for_comes_first(tmp_path):
    assert _words(_pruned(tmp_path, {"min_accuracy": 0.85})) == (ACCURACY, PARAMETERS)


def test_flops_as_executed_after_a_shrink(tmp_path):
    sources = _pruned(tmp_path, {"flops": "2x"})
    shrink = {"command": "shrink", "options": {}, "parent": None}
    result = {"nodes": 5, "removed": 5, "parameters": 55, "flops": 400, "runs": "modules", "proof": {}}
    dense, small = sources.given
    history = [*small.seen["history"], {**shrink, "result": result}]
    sources = replace(sources, given=(dense, replace(small, seen={**small.seen, "history": history})))
    assert _words(sources)[0] == "2.5× fewer FLOPs"


def _speed(shrunk):
    times = {"dense": 0.003, "masked": 0.003, "shrunk": 0.001}
    found = [Timing(name, "torch", 1, time, time, time, 9) for name, time in times.items()]
    found += [Timing(name, "ONNX Runtime", 1, time / 2, time, time, 9) for name, time in times.items()]
    return Speed(tuple(found), (), "cpu, one thread", shrunk)


@pytest.mark.parametrize(
    ("shrunk", "said"),
    [
        (True, "3.0× faster; dense and pruned timed in turns (cpu, one thread)"),
        (False, "as dense; dense and pruned timed in turns (cpu, one thread)"),
        (None, "2.0× faster; from separate eval runs"),
    ],
)
def test_times_in_turns_come_before_those_of_eval(shrunk, said, tmp_path):
    sources = _pruned(tmp_path, {"latency": "2x", "runtime": "onnx"}, {"latency": 0.4}, latency=TIMES)
    path = tmp_path / "pruned.safetensors"
    looks = {} if shrunk is None else {path: Look(path, speed=_speed(shrunk))}
    (summary,) = overview_section(page_data(sources, looks=looks)).summaries
    (tile,) = [tile for tile in summary.answer.tiles if tile.words == "Time for one image"]
    assert tile.source == said
    first = "2.5×" if shrunk is None else "3.0×"  # the shrunk network's, which a latency is asked of
    assert summary.answer.words[0] == f"{first} faster once shrunk"


def test_the_trade_off_opens_on_what_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(
        trade_off, "trade_off", lambda setting, axis, measure, styles, **_: axis.name
    )  # drawing is slow
    for target, flops in (("2x", 500), ("4x", 250)):
        sources = _pruned(tmp_path, {"flops": target}, name=target, nonzero_flops=flops)
    names = [name for name, _ in trade_off.trade_off_section(page_data(sources)).choice]
    assert names[:2] == ["FLOPs", "weights"]
    assert names.count("FLOPs") == 1
