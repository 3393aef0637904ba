"""Mutants of what decides about files and pruning, and how many of them the tests of their room kill.

    pip install cosmic-ray
    python -m tests.benchmarks.mutants [--each 40] [--seed 0] [--only MODULE]

cosmic-ray says which small changes of a module there are: another operator, number, condition or exception. A random
sample of those in bodies of functions is taken. For each, a process that has imported everything forks, takes the
changed code, and runs the module's tests until one fails. mutants.json holds what came of it; a mutant that no test
notices is listed with its line. Run `python -m tests.benchmarks.reliability --kills 0 --disks 0 --add` for the page.
"""

import argparse
import ast
import importlib
import io
import itertools
import json
import os
import random
import resource
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType
from typing import Any

import pytest

RECORDS = Path(__file__).with_suffix(".json")
SECONDS = 60
"""Of processor time; a mutant that takes longer does not end, which a test run notices."""
TESTS = {
    "prunectl.masks": ("structure/test_masks.py", "structure/test_prunable.py"),
    "prunectl.pruning.select": tuple(
        f"pruning/test_{name}.py" for name in ("rows", "weight_selection", "node_selection")
    ),
    "prunectl.criteria.base.schedules": ("criteria/test_schedules.py",),
    "prunectl.checkpoints.header": (
        *("checkpoints/test_damage.py", "checkpoints/test_leftovers.py", "checkpoints/test_write.py"),
        *("checkpoints/test_inspect.py", "checkpoints/test_round_trips.py", "checkpoints/test_header_fields.py"),
    ),
    "prunectl.checkpoints.files": tuple(
        f"checkpoints/test_{name}.py" for name in ("file_parts", "write", "sidecars", "leftovers", "races", "places")
    ),
    "prunectl.checkpoints.checkpoint": (
        *("checkpoints/test_checkpoint.py", "checkpoints/test_held_out.py", "checkpoints/test_repr.py"),
        *("checkpoints/test_round_trips.py", "checkpoints/test_damage.py", "checkpoints/test_sidecars.py"),
        *("checkpoints/test_inspect.py", "checkpoints/test_races.py"),
    ),
    **{
        f"prunectl.structure.surgery.{name}": (
            *(f"structure/test_{name}.py", "structure/test_structure.py", "structure/test_exact_removal.py"),
        )
        for name in ("cut", "fold", "resize")
    },
}
"""Module -> the fast tests of its room, the quickest first; a process that a test starts knows nothing of a mutant."""
FAST = "not long and not slow and not gpu and not browser"
OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=", "-m", FAST, "--assert=plain")

_NO_TEST = 70
"""Exit code of a process whose tests did not begin."""


def mutants(module: str, drawn: random.Random) -> tuple[int, Iterator[tuple[str, str, str]]]:
    """How many mutants a module has, and those in bodies of functions in a random order.

    Each is the name of what changes, the function, and the changed source.
    """
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    source = Path(str(importlib.import_module(module).__file__)).read_text()
    nodes, places = list(ast_nodes(get_ast(source))), []
    for name in sorted(operator_names()):
        with suppress(TypeError):  # it takes arguments
            operator = get_operator(name)()
            places += [
                (name, operator, i) for i in range(sum(len(list(operator.mutation_positions(n))) for n in nodes))
            ]
    drawn.shuffle(places)
    return len(places), _changed(source, places)


def _changed(source: str, places: list[tuple[str, Any, int]]) -> Iterator[tuple[str, str, str]]:
    from cosmic_ray.mutating import mutate_code

    before = codes(source)
    for name, operator, occurrence in places:
        changed = mutate_code(source, operator, occurrence)
        with suppress(SyntaxError):
            after = codes(changed or source)
            found = [each for each in before if each in after and not same(before[each], after[each])]
            if found:
                yield name.rpartition("/")[2], found[0], changed


def codes(source: str) -> dict[str, CodeType]:
    """The code of every function and method of a source, without those within functions."""
    found = {}
    places: list[CodeType] = [compile(source, "x", "exec")]
    names = {each.name for each in ast.walk(ast.parse(source)) if isinstance(each, ast.ClassDef)}
    while places:
        for each in places.pop().co_consts:
            if isinstance(each, CodeType) and each.co_qualname in names:
                places.append(each)
            elif isinstance(each, CodeType) and each.co_name.isidentifier():
                found[each.co_qualname] = each
    return found


def same(one: CodeType, other: CodeType) -> bool:
    """Whether two functions do the same: annotations of their variables are never evaluated."""
    if (one.co_code, one.co_names, len(one.co_consts)) != (other.co_code, other.co_names, len(other.co_consts)):
        return False
    pairs = zip(one.co_consts, other.co_consts, strict=True)
    return all(same(a, b) if isinstance(a, CodeType) and isinstance(b, CodeType) else a == b for a, b in pairs)


def take_code_(module: str, function: str, source: str) -> None:
    """Give a function of an imported module the code that it has in another source."""
    place: Any = sys.modules[module]
    for part in function.split("."):
        place = vars(place)[part]
    while not hasattr(place, "__code__") or hasattr(place, "__wrapped__"):
        place = next(getattr(place, key) for key in ("__wrapped__", "__func__", "fget", "func") if hasattr(place, key))
    place.__code__ = codes(source)[function]


def survives(tests: tuple[str, ...], prepare: Callable[[], None]) -> tuple[bool, float]:
    """Whether all tests pass in a process of their own after `prepare`, and the processor time that took."""
    with TemporaryDirectory() as folder:  # pytest's own folders are those of any run beside this one, too
        pid = os.fork()
        if not pid:
            code = _NO_TEST
            try:
                resource.setrlimit(resource.RLIMIT_CPU, (_used() + SECONDS, _used() + SECONDS))
                prepare()
                with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                    named = (f"tests/{name}" for name in tests)
                    code = int(pytest.main([*OPTIONS, f"--basetemp={folder}/tests", *named]))
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status, used = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code != _NO_TEST, "no test began"
    return code == 0, used.ru_utime + used.ru_stime


def _used() -> int:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return int(spent.ru_utime + spent.ru_stime) + 1


def changed_line(module: str, source: str) -> str:
    """The first line that differs: its number, what it was, and what it became."""
    before = Path(str(sys.modules[module].__file__)).read_text().splitlines()
    pairs = enumerate(zip(before, source.splitlines(), strict=False), 1)
    number, (was, now) = next((number, pair) for number, pair in pairs if pair[0] != pair[1])
    return f"{number}: `{was.strip()}` -> `{now.strip()}`"


def tried(module: str, each: int, seed: int) -> dict[str, Any]:
    """A sample of a module's mutants, and those that no test notices."""
    importlib.import_module(module)
    for name in TESTS[module]:
        importlib.import_module(f"tests.{name.removesuffix('.py').replace('/', '.')}")
    whole, seconds = survives(TESTS[module], lambda: None)
    assert whole, f"the tests of {module} fail without a mutant"
    count, found = mutants(module, random.Random(seed))
    chosen = list(itertools.islice(found, each))
    survivors = []
    for operator, function, source in chosen:
        alive, spent = survives(TESTS[module], partial(take_code_, module, function, source))
        said = f"{function}, {changed_line(module, source)} ({operator})"
        print(f"{module}: {'SURVIVED' if alive else 'killed'} after {spent:.1f} s: {said}", flush=True)
        if alive:
            survivors.append(said)
    record = {"mutants": count, "tried": len(chosen), "killed": len(chosen) - len(survivors)}
    return {**record, "seed": seed, "test_seconds": round(seconds, 1), "survivors": survivors}


def table(records: dict[str, Any]) -> list[str]:
    """The lines of the page."""
    lines = ["## Mutants", ""]
    lines += ["A random sample of the mutants in bodies of functions (cosmic-ray), against the fast tests of the room."]
    lines += ["", "| module | mutants | tried | killed | |", "|---|--:|--:|--:|--:|"]
    sums = {key: sum(record[key] for record in records.values()) for key in ("mutants", "tried", "killed")}
    for name, record in [*records.items(), ("all", sums)]:
        numbers = [str(record[key]) for key in ("mutants", "tried", "killed")]
        share = record["killed"] / max(record["tried"], 1)
        lines.append(f"| {name} | {' | '.join(numbers)} | {share:.0%} |")
    left = [f"- {name}: {said}" for name, record in records.items() for said in record["survivors"]]
    return [*lines, "", "Survivors:" if left else "No mutant survived.", "", *left, ""]


def main() -> None:
    """Try mutants and record what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--each", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=TESTS)
    chosen = parser.parse_args()
    for module in [name for name in TESTS if chosen.only in (None, name)]:
        record = tried(module, chosen.each, chosen.seed)
        records = json.loads(RECORDS.read_text()) if RECORDS.exists() else {}  # of other runs, too
        records[module] = record
        RECORDS.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
