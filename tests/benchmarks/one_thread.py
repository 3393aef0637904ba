"""What benchmarks of training share: their options, one thread, and the processor that they ran on."""

import argparse
import platform
from collections.abc import Iterable
from pathlib import Path

import torch

from prunectl.cli.process import prepare


def begun(about: str, networks: Iterable[str]) -> argparse.Namespace:
    """Read `networks`, `rounds`, `amp` and `out` from the command line, and run in one thread, as commands do."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(networks))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--out", type=Path)
    torch.set_num_threads(1)
    prepare("train")
    return parser.parse_args()


def processor() -> dict[str, str]:
    """The version of torch, and the processor with the instructions that torch uses."""
    return {
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }
