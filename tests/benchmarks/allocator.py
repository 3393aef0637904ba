"""What keeping freed memory saves (prunectl/cli/process.py): training, evaluation and an attack, with it and without.

Run as `python -m tests.benchmarks.allocator [ROUNDS]`: processes of the command line take turns, one thread each, on a
part of Fashion-MNIST. The table shows medians of processor seconds, the least ratio and the most; page faults in
millions and the peak of resident memory in MB for both.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TURNS = {"returned": {"MALLOC_ARENA_TEST": "8"}, "kept": {}}  # any setting of the user's keeps prunectl's away
TRAIN = ["train", "--data", "fashionmnist", "--subset", "500", "--epochs", "1", "-b", "64", "--seed", "0"]


def commands(folder: Path) -> dict[str, list[str]]:
    """What is measured; the networks of later lines come from earlier ones."""
    made = {name: str(folder / f"{name}.safetensors") for name in ("lenet5", "conv6", "resnet18")}
    trained = {f"train {name}": [*TRAIN, "--model", name, "-o", path, "--force"] for name, path in made.items()}
    return {
        **trained,
        "eval conv6": ["eval", made["conv6"]],
        "attack conv6": ["attack", made["conv6"], "--attack", "pgd", "--n", "32"],
    }


def measured(command: list[str], setting: dict[str, str]) -> resource.struct_rusage:
    """What a process took in all."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **setting}
    process = subprocess.Popen(
        [sys.executable, "-m", "prunectl", *command, "--device", "cpu"], env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    return usage


def main(rounds: int) -> None:
    """Print the table."""
    print("| command | returned, s | kept, s | kept / returned | faults, M | MB |\n|---|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, command in commands(Path(folder)).items():
            turns = [{how: measured(command, setting) for how, setting in TURNS.items()} for _ in range(rounds)]
            seconds = {how: [turn[how].ru_utime + turn[how].ru_stime for turn in turns] for how in TURNS}
            given, kept = (statistics.median(seconds[how]) for how in TURNS)
            ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
            faults = [f"{turns[-1][how].ru_minflt / 1e6:.1f}" for how in TURNS]
            peaks = [str(turns[-1][how].ru_maxrss // 1024) for how in TURNS]
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            print(
                f"| {name} | {given:.1f} | {kept:.1f} | {ratio} | {' / '.join(faults)} | {' / '.join(peaks)} |",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
