"""The versions that a result depends on."""

from importlib import metadata

import torch

from prunectl.plugins.registry import LIBRARIES


def versions(model: str = "") -> dict[str, str]:
    """The versions that a result depends on, and the cpu's instruction set, by which torch chooses its kernels.

    The library that `model` comes from is included.
    """
    from prunectl.version import __version__  # noqa: PLC0415

    library = model.partition("/")[0]
    return {
        "prunectl": __version__,
        "torch": str(torch.__version__),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        **(_installed(library) if library in LIBRARIES["model"] else {}),
    }


def _installed(library: str) -> dict[str, str]:
    """The version of a library by its name; empty if it is not installed."""
    try:
        return {library: metadata.version(library)}
    except metadata.PackageNotFoundError:
        return {}
