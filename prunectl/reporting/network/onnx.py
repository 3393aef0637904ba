"""Times networks in ONNX Runtime, if it is installed."""

from collections import defaultdict
from pathlib import Path
from tempfile import gettempdir

from torch import nn

from prunectl.checkpoints.pixels import deployed
from prunectl.errors import OptionError, first_line
from prunectl.measuring.onnx import ONNX_FOLDER, Session, check_installed, write_onnx
from prunectl.reporting.network.aside import empty_, put_aside_, take_back_
from prunectl.reporting.network.seconds import Seconds, seconds
from prunectl.torchtools.freed import give_back
from prunectl.torchtools.temporaries import temporary_folder

HINT = "Not timed in ONNX Runtime: pip install onnx onnxscript onnxruntime."
LARGE = 64 << 20
"""Bytes of the weights of all networks above which they are loaded one at a time."""
_LOADS = 3
"""How often each of them is then loaded."""


def seconds_in_onnx(networks: dict[str, nn.Module], shape: tuple[int, int, int]) -> Seconds | str:
    """Time networks on one CPU thread, in turns; or return one line on why that is impossible.

    The exporter and ONNX Runtime need two more bytes per byte of weights. If the networks are large together, all but
    one wait in files while that one is exported; then each is loaded, timed and dropped, three times. Large networks
    lose their values.
    """
    size = sum(p.nbytes for network in networks.values() for p in network.parameters())
    large = size > LARGE
    try:
        check_installed()
        with temporary_folder(Path(gettempdir()), ONNX_FOLDER) as folder:
            files = {name: Path(folder, f"{name}.onnx") for name in networks}
            (_write_large_ if large else _write)(networks, shape, files)
            return _in_loads(files, shape) if large else _of_files(files, shape)
    except OptionError:
        return HINT
    except Exception as error:  # noqa: BLE001  (exporter and runtime may raise anything; the page does not need them)
        return f"Not timed in ONNX Runtime: {first_line(error)}."


def _write(networks: dict[str, nn.Module], shape: tuple[int, int, int], files: dict[str, Path]) -> None:
    for name, file in files.items():
        write_onnx(deployed(networks[name]), shape, file)


def _write_large_(networks: dict[str, nn.Module], shape: tuple[int, int, int], files: dict[str, Path]) -> None:
    """Export each network while the values of the others are in files; at the end none has its values."""
    waiting = {name: file.with_suffix(".pt") for name, file in files.items()}
    for name, file in waiting.items():
        put_aside_(networks[name], file)
    for name, file in files.items():
        give_back()  # also frees the exporter's graphs of the last network, which hold weights
        take_back_(networks[name], waiting[name])
        write_onnx(deployed(networks[name]), shape, file)
        empty_(networks[name])
        waiting[name].unlink()
    give_back()


def _in_loads(files: dict[str, Path], shape: tuple[int, int, int]) -> Seconds:
    """Time the networks, loaded one at a time."""
    found: Seconds = defaultdict(list)
    for name in [*files] * _LOADS:
        for key, taken in _of_files({name: files[name]}, shape, parts=_LOADS).items():
            found[key] += taken
        give_back()
    return found


def _of_files(files: dict[str, Path], shape: tuple[int, int, int], parts: int = 1) -> Seconds:
    """Time the networks, all loaded together."""
    return seconds({name: Session(file, threads=1) for name, file in files.items()}, shape, parts=parts)
