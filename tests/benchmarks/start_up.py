"""The README's main job with the code of two checkouts, in turns: wall and processor seconds.

    python -m tests.benchmarks.start_up EARLIER_CHECKOUT [--turns 3]

writes start_up.json beside this file. Run it on an idle machine. The report is a table, as the page needs an extra.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
STEPS = (
    "train --model mlp5",
    "eval",
    "prune --criterion snipit --sparsity 0.9",
    "train",
    "shrink",
    "eval",
    "attack",
    "report --parents",
)


def seconds(checkout: Path) -> dict[str, float]:
    """One run of the job in an empty folder."""
    job = " | ".join(f"{sys.executable} -m prunectl {step}" for step in STEPS)
    unset = ("OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE")  # as for a user, whose second run has bytecode
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["bash", "-o", "pipefail", "-c", job],
            cwd=folder,
            env={**environment, "PYTHONPATH": str(checkout)},
            check=True,
            capture_output=True,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": round(time.perf_counter() - begun, 2), "processor": round(processor, 2)}


def main() -> None:
    """Measure in turns, and write medians and all runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("earlier", type=Path, help="a checkout of the code to compare with")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    runs: dict[str, list[dict[str, float]]] = {"before": [], "after": []}
    for checkout in (given.earlier, HERE.parents[1]):
        seconds(checkout.resolve())
    for _ in range(given.turns):
        for name, checkout in (("before", given.earlier), ("after", HERE.parents[1])):
            runs[name].append(seconds(checkout.resolve()))
            print(name, runs[name][-1], flush=True)
    medians = {
        name: {key: statistics.median(run[key] for run in found) for key in ("wall", "processor")}
        for name, found in runs.items()
    }
    ratio = {key: round(medians["after"][key] / medians["before"][key], 2) for key in ("wall", "processor")}
    record = {"cores": os.cpu_count(), "medians": medians, "ratio": ratio, "runs": runs}
    (HERE / "start_up.json").write_text(json.dumps(record, indent=1) + "\n")
    print(ratio)


if __name__ == "__main__":
    main()
