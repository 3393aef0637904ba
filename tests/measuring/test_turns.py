"""How networks are timed: in turns, each long enough to have the processor's caches to itself; ratios and intervals."""

from functools import partial
from time import perf_counter

import pytest
import torch

from prunectl.measuring.latency import Ratio, relative_latency, seconds_in_turns, timing


class Clock:
    """Time that passes only where something says so."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, list[str]()

    def __call__(self) -> float:
        return self.now

    def run(self, name: str, seconds: float) -> None:
        self.calls.append(name)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("prunectl.measuring.latency.perf_counter", made)
    return made


def test_runs_take_turns_after_a_warm_up_on_one_thread(clock: Clock) -> None:
    threads = torch.get_num_threads()

    def run(name: str) -> None:
        assert (torch.get_num_threads(), torch.is_inference_mode_enabled()) == (1, True)
        clock.run(name, 0.03)

    taken = seconds_in_turns({"a": lambda: run("a"), "b": lambda: run("b")}, at_least_s=0.0, rounds=4)
    assert clock.calls == ["a", "b"] * 7  # three to warm up
    assert [len(taken[name]) for name in ("a", "b")] == [4, 4]
    assert torch.get_num_threads() == threads
    assert seconds_in_turns({}, at_least_s=10.0, rounds=4) == {}


def test_a_turn_of_short_calls_lasts_20_ms_so_that_the_caches_are_its_own(clock: Clock) -> None:
    runs = {"short": lambda: clock.run("s", 0.0051), "long": lambda: clock.run("l", 0.05)}
    taken = seconds_in_turns(runs, at_least_s=0.0, rounds=2)
    assert "".join(clock.calls) == "slslsl" + "ssssl" * 2
    assert taken == {"short": [[pytest.approx(0.0051)] * 4] * 2, "long": [[pytest.approx(0.05)]] * 2}


def test_a_ratio_is_that_of_the_medians_of_turns(clock: Clock) -> None:
    """Calls that find the caches filled by the other network are slower; they do not count."""

    def run(name: str, seconds: float) -> None:
        cold = not clock.calls or clock.calls[-1] != name
        clock.run(name, seconds * (2 if cold else 1))

    found = relative_latency(lambda: run("small", 0.0001), lambda: run("dense", 0.0004))
    assert found.value == pytest.approx(0.25)


def test_the_interval_of_a_timing_is_that_of_its_turns_whose_calls_are_disturbed_alike() -> None:
    found = timing("onnx", 1, [[1.0] * 50, [2.0] * 50, [3.0] * 50])
    assert (found["median_s"], found["low_s"], found["high_s"], found["runs"]) == (2.0, 1.0, 3.0, 150)
    assert found["iqr_s"] == 2.0


def test_rounds_go_on_until_the_time_is_over() -> None:
    begun = perf_counter()
    taken = seconds_in_turns({"a": lambda: None}, at_least_s=0.05, rounds=1)
    assert perf_counter() - begun >= 0.05
    assert len(taken["a"]) > 1


def test_a_network_that_does_more_work_takes_longer() -> None:
    small = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 784))
    large = torch.nn.Sequential(torch.nn.Flatten(), *(torch.nn.Linear(784, 784) for _ in range(20)))
    image = torch.full((1, 1, 28, 28), 0.5)
    found = relative_latency(partial(small, image), partial(large, image), limit=0.5)
    assert found.low <= found.value <= found.high < 0.5


def test_the_interval_of_a_ratio() -> None:
    found = Ratio.of([1.0] * 45 + [2.0] * 55)
    assert (found.value, found.low, found.high) == (2.0, 1.0, 2.0)
    assert not found.decides(None) and not found.decides(1.5) and found.decides(2.1) and found.decides(0.9)
    assert Ratio.of([1.0, 1.01, 1.02] * 40).decides(1.01)
    assert Ratio.of([3.0]) == Ratio(3.0, 3.0, 3.0)
