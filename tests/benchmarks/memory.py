"""The peak of resident memory of whole commands, in bytes for every byte of the network's weights.

    python -m tests.benchmarks.memory [--column before|now] [--only NAME ...] [--width 5000 16] [--folder FOLDER]

Each command runs in a process of its own on `mlp5`, whose activations are small, at two widths. The difference of the
two peaks divided by the difference of the two networks' bytes leaves out what Python and torch take. Writes memory.json
beside this file, in MB, and prints the table. With --folder, the checkpoints stay there for the next call. Linux; one
thread.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILE = Path(__file__).parent / "memory.json"
WIDE, NARROW = 5000, 16
CHANNELS, CLASSES, SIDE = 1, 10, 28
TRAINING = ("--data", "synthetic", "--subset", "256", "--epochs", "1", "-b", "64")
MAKES = {"train", "prune magnitude", "prune random", "prune nodes", "shrink, nodes"}
"""Whose files other commands read."""
STATE_DICT = """
import sys, torch
from safetensors.torch import load_file
torch.save(load_file(sys.argv[1]), sys.argv[2])
"""


def weight_bytes(hidden: int) -> int:
    """Bytes of the four weights of mlp5 in float32."""
    return 4 * (CHANNELS * SIDE * SIDE * hidden + 3 * hidden * hidden + hidden * CLASSES)


def commands(folder: Path, hidden: int) -> dict[str, list[str]]:
    """What is measured, in an order in which later lines find the files of earlier ones."""
    paths = {name: str(folder / f"{name}.safetensors") for name in ("dense", "masked", "other", "nodes", "small")}
    network = ["--model", "mlp5", "-M", f"hidden={hidden}"]

    def pruned(criterion: str, *more: str) -> list[str]:
        return ["prune", paths["dense"], "-c", criterion, "--data", "synthetic", "-s", "0.9", *more, "--force"]

    foreign = str(folder / "dense.pt")
    imported = ["--input", f"{CHANNELS}x{SIDE}x{SIDE}", "--classes", str(CLASSES), "--mean", "0", "--std", "1"]
    return {
        "train": ["train", *network, *TRAINING, "-o", paths["dense"], "--force"],
        "prune magnitude": pruned("magnitude", "-o", paths["masked"]),
        "prune random": pruned("random", "-o", paths["other"]),
        "prune lamp": pruned("lamp", "-o", str(folder / "lamp.safetensors")),
        "prune snip": pruned("snip", "-o", str(folder / "snip.safetensors")),
        "prune nodes": pruned("efficient-convnets", "-o", paths["nodes"]),
        "train, masked": ["train", paths["masked"], *TRAINING, "-o", str(folder / "again.safetensors"), "--force"],
        "eval, masked": ["eval", paths["masked"], "--data", "synthetic"],
        "repair": ["repair", paths["masked"], "-n", "128", "-o", str(folder / "repaired.safetensors"), "--force"],
        "shrink, weights": ["shrink", paths["masked"], "-o", str(folder / "alive.safetensors"), "--force"],
        "shrink, nodes": ["shrink", paths["nodes"], "-o", paths["small"], "--force"],
        "diff": ["diff", paths["masked"], paths["other"]],
        "diff, shrunk": ["diff", paths["dense"], paths["small"]],
        "inspect": ["inspect", paths["masked"]],
        "report, page": ["report", paths["masked"], "-o", str(folder / "page.html"), "--force"],
        "export, folder": ["export", paths["masked"], "-o", f"{folder / 'exported'}/", "--force"],
        "import, .safetensors": ["import", paths["dense"], *network, *imported, "-o", f"{foreign}.st", "--force"],
        "import, .pt": ["import", foreign, *network, *imported, "-o", f"{foreign}.safetensors", "--force"],
    }


def peak(command: list[str]) -> int:
    """Bytes that a process had resident at most, asked for often, as `eval` resets what the system counts.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "prunectl", *command],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=told,
        )
        highest, ended, usage = 0, 0, None
        while not ended:
            highest = max(highest, _resident(process.pid))
            time.sleep(0.02)
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if status:
            told.seek(0)
            raise RuntimeError(f"{' '.join(command)}: {told.read().decode()}")
    return max(highest, usage.ru_maxrss * 1024)


def _resident(pid: int) -> int:
    """The peak that the system counts now; 0 where the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
    except OSError:
        return 0


def measure(column: str, hidden: int, only: list[str], folder: Path) -> None:
    """Write the peaks of all commands, or of `only` these and those that make a file which is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for title, command in commands(folder, hidden).items():
        makes = title in MAKES and not Path(command[command.index("-o") + 1]).exists()
        if only and not makes and title not in only:
            continue
        if title == "import, .pt":
            subprocess.run([sys.executable, "-c", STATE_DICT, folder / "dense.safetensors", command[1]], check=True)
        found = round(peak(command) / 1e6)
        print(title, hidden, f"{found} MB", file=sys.stderr, flush=True)
        record = read()
        record.setdefault(column, {}).setdefault(str(hidden), {})[title] = found
        FILE.write_text(json.dumps(record, indent=1) + "\n")


def read() -> dict[str, dict[str, dict[str, int]]]:
    """What was measured: MB by state of the code, width and command."""
    found: dict[str, dict[str, dict[str, int]]] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return found


def table(record: dict[str, dict[str, dict[str, int]]]) -> str:
    """Markdown: a row for every command, a column for every state of the code."""
    columns = {name: _ratios(by) for name, by in record.items() if len(by) == 2}
    titles = dict.fromkeys(title for column in columns.values() for title in column)
    rows = [[title, *(f"{c[title]:.1f}" if title in c else "" for c in columns.values())] for title in titles]
    head = [["command", *columns], ["---", *["--:"] * len(columns)]]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *rows])


def _ratios(by: dict[str, dict[str, int]]) -> dict[str, float]:
    """Bytes of the peak for every byte of the weights, by command."""
    narrow, wide = sorted(by, key=int)
    weights = (weight_bytes(int(wide)) - weight_bytes(int(narrow))) / 1e6
    return {title: (mb - by[narrow][title]) / weights for title, mb in by[wide].items() if title in by[narrow]}


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--column", default="now", help="what to call the state of the code")
    parser.add_argument("--only", nargs="*", default=[], help="these commands alone, by the names of the table")
    parser.add_argument("--width", nargs="*", type=int, default=[WIDE, NARROW])
    parser.add_argument("--folder", type=Path, help="where the checkpoints of each width stay")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for hidden in given.width:
            measure(given.column, hidden, given.only, (given.folder or Path(temporary)) / str(hidden))
    print(table(read()))


if __name__ == "__main__":
    main()
