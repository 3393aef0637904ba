"""Files of every kind, damaged at random, and every command that reads them.

python -m tests.helpers.fuzzing 5000 0 [SECONDS [KIND...]]

runs so many inputs from this seed, for so many seconds at most; prints what failed, and where, and adds a line to
tests/benchmarks/fuzz.jsonl.
"""

import json
import math
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prunectl.checkpoints.journal import Journal
from tests.helpers.mutations import Mutate, change_bytes, contents, lines, own_header, tensors, toml
from tests.helpers.running import run_cli

CAMPAIGNS = Path(__file__).parents[1] / "benchmarks" / "fuzz.jsonl"
SECONDS, WAIT = 10, 600
"""Of processor time, and by the clock, as other programs may run; what takes longer is a hang."""
PAGES = 0.01
"""The share of inputs of which a page is drawn."""
JUMP = 1 << 20
"""A jump of the peak memory, in kB."""
NETWORK = "--model mlp5 -M hidden=8 --image-size 8 --subset 64 --device cpu"
MADE = (
    f"train {NETWORK} --epochs 1 -b 32 -o a.safetensors",
    "eval a.safetensors --no-latency",
    "attack a.safetensors --attack fgsm -n 4",
    "prune a.safetensors -c snap -s 0.5 -o b.safetensors --scores-out",
    "shrink b.safetensors -o c.safetensors",
    f"train {NETWORK} --epochs 2 -b 32 --max-minutes 0 -c gate-decorators -s 0.3 --prune-delay 0 --prune-every 1"
    " --steps 1 -o d.safetensors",
)
ATTACK = "attack a.safetensors --attack fgsm,pgd -O steps=2 -n 6 -b 2 --eps 0.1"
PLAN = """
[grid]
seed = [0, 1]
[pipelines]
dense = "train --model mlp5 -M hidden=8 --epochs 0 --seed {seed} | eval"
[pipelines.pruned]
criterion = ["snip", "magnitude"]
run = "prune --model mlp5 -c {criterion} --seed {seed} | eval --no-latency"
"""
CONFIG = """
[prune]
criterion = "magnitude"
sparsity = 0.5
keep = ["features.1"]
[train]
epochs = 0
"""
CHECKPOINT = (
    *("inspect {0}", "inspect {0} --json", "log {0}", "log {0} --json", "explain {0}", "report {0}", "rerun {0}"),
    *("eval {0} --no-latency", "diff {0} a.safetensors", "shrink {0} -o x.safetensors --force", "report . --json"),
    "repair {0} --method bn -n 16 --reference a.safetensors -o x.safetensors --force",
    *("prune {0} -c magnitude -s 0.9 -o x.safetensors --force", "train {0} --epochs 0 -o x.safetensors --force"),
)
RECORDS = (
    "report . --json",
    "report . --csv",
    "report .",
    "log a.safetensors",
    "report . -o page.html --no-run --force",
)


@dataclass
class Findings:
    """The outcome of a campaign: bugs by place, hangs, files outside the folder, jumps of memory."""

    inputs: int = 0
    runs: int = 0
    tracebacks: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    seconds: Counter[str] = field(default_factory=Counter)
    hangs: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    jumps: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not (self.tracebacks or self.hangs or self.outside or self.jumps)

    def __str__(self) -> str:
        lines = [f"{self.inputs} inputs, {self.runs} runs, {sum(self.tracebacks.values())} tracebacks"]
        lines += [f"{count:6} {place}\n       {self.examples[place]}" for place, count in self.tracebacks.most_common()]
        lines += ["processor time: " + ", ".join(f"{name} {spent:.0f} s" for name, spent in self.seconds.most_common())]
        named = {"hang": self.hangs, "file outside": self.outside, "memory": self.jumps}
        return "\n".join([*lines, *(f"{kind}: {each}" for kind, found in named.items() for each in found)])


def base(folder: Path) -> None:
    """The intact files."""
    for line in MADE:
        ran = run_cli(folder, *line.split())
        assert ran.code == 0, ran.err
    _stop_attack(folder)
    (folder / "plan.toml").write_text(PLAN)
    (folder / "config.toml").write_text(CONFIG)


def _stop_attack(folder: Path) -> None:
    """Leave an attack that was stopped after two batches."""
    add = Journal.add

    def stop(journal: Journal, record: Any) -> None:
        add(journal, record)
        if len(journal.lines) == 3:  # what the attack is, and two batches
            raise KeyboardInterrupt

    Journal.add = stop
    try:
        run_cli(folder, *ATTACK.split())
    except KeyboardInterrupt:
        pass
    finally:
        Journal.add = add


KINDS: dict[str, tuple[tuple[str, ...], tuple[Mutate, ...], tuple[str, ...]]] = {
    "header": (("a.safetensors", "b.safetensors", "c.safetensors"), (own_header, contents, change_bytes), CHECKPOINT),
    "tensors": (("a.safetensors", "b.safetensors", "c.safetensors"), (tensors,), CHECKPOINT),
    "masks": (("b.mask.safetensors",), (own_header, contents, tensors, change_bytes), CHECKPOINT),
    "scores": (
        ("b.scores.safetensors",),
        (contents, tensors, change_bytes),
        ("report b.safetensors", "report b.safetensors -o page.html --no-run --force"),
    ),
    "results": (("a.results.jsonl",), (lines, lines, change_bytes), RECORDS),
    "log": (("a.log.jsonl",), (lines, lines, change_bytes), RECORDS),
    "resume": (
        ("d.resume.safetensors",),
        (own_header, own_header, contents, tensors, change_bytes),
        ("train --resume {0} -o x.safetensors --force", "inspect {0}"),
    ),
    "attack": (("a.attack.part.jsonl",), (lines, lines, change_bytes), (f"{ATTACK} --resume",)),
    "plan": (("plan.toml",), (toml, change_bytes), ("sweep {0} -o swept --dry-run",)),
    "config": (("config.toml",), (toml, change_bytes), ("prune a.safetensors --config {0} -o x.safetensors --force",)),
}
"""Kind of file -> the intact ones, what damages them, the commands that read them; {0} is the file or checkpoint."""


class _Hang(BaseException):
    """A command that does not end."""


@contextmanager
def _limited() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise _Hang

    timers = {signal.SIGALRM: (signal.ITIMER_REAL, WAIT), signal.SIGPROF: (signal.ITIMER_PROF, SECONDS)}
    before = {number: signal.signal(number, ring) for number in timers}
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def campaign(
    intact: Path,
    scratch: Path,
    inputs: int,
    seed: int,
    kinds: tuple[str, ...] = tuple(KINDS),
    seconds: float = math.inf,
    pages: float = PAGES,
) -> Findings:
    """Damage `inputs` files and give each to two of the commands that read its kind."""
    rng, found = random.Random(seed), Findings()
    begun = time.monotonic()
    for i in range(inputs):
        if time.monotonic() - begun > seconds:
            break
        kind = kinds[i % len(kinds)]
        names, mutators, commands = KINDS[kind]
        name = rng.choice(names)
        place = scratch / "in"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(intact, place)
        (place / name).write_bytes(rng.choice(mutators)(rng, (intact / name).read_bytes()))
        found.inputs += 1
        quick = [command for command in commands if "page" not in command]
        chosen = rng.sample(quick, min(2, len(quick)))
        if rng.random() < pages:  # which takes 100 times as long
            chosen += [command for command in commands if "page" in command]
        for command in chosen:
            _run(found, place, command.format(name.replace(".mask.", ".")), f"seed {seed}, input {i}, {kind}")
        found.outside += [f"{each} ({kind}, seed {seed}, {i})" for each in scratch.iterdir() if each != place]
    return found


def _run(found: Findings, place: Path, line: str, what: str) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found.runs += 1
    begun = time.process_time()
    try:
        with _limited():
            ran = run_cli(place, *line.split())
        usage = ran.code == 2 and "Usage: " in ran.err
        if ran.code and not usage and (not ran.err.startswith("prunectl: ") and "\nprunectl: " not in ran.err):
            raise AssertionError(f"exit code {ran.code} without a line: {ran.err[-200:]!r}")
    except _Hang:
        found.hangs.append(f"{line} ({what})")
    except BaseException as error:  # whatever comes through is a bug
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "/prunectl/" in f.filename]
        last = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
        bug = f"{Path(last.filename).parent.name}/{Path(last.filename).name}:{last.lineno} {type(error).__name__}"
        found.tracebacks[bug] += 1
        found.examples.setdefault(bug, f"{line} ({what}): {str(error)[:160]!r}")
    found.seconds[line.split(maxsplit=1)[0] + " -o" * ("page" in line)] += time.process_time() - begun
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak > JUMP:
        found.jumps.append(f"{line} ({what})")


def main() -> None:
    """Run a campaign of the size and seed in the arguments; the most seconds and the kinds may follow."""
    inputs, seed, seconds, *kinds = [*sys.argv[1:], *["inf"][len(sys.argv) - 3 :]]
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        intact, scratch = Path(name) / "intact", Path(name) / "scratch"
        intact.mkdir()
        scratch.mkdir()
        base(intact)
        found = campaign(intact, scratch, int(inputs), int(seed), tuple(kinds) or tuple(KINDS), float(seconds))
    print(found)
    counts = {name: len(each) for name, each in vars(found).items() if isinstance(each, list)}
    line = {"seed": int(seed), "inputs": found.inputs, "runs": found.runs, "tracebacks": found.tracebacks.total()}
    with CAMPAIGNS.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**line, **counts}) + "\n")
    sys.exit(not found.clean)


if __name__ == "__main__":
    main()
