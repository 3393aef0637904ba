"""A network in ONNX Runtime, if it is installed."""

from torch import nn

from prunectl.errors import OptionError, first_line
from prunectl.measuring.onnx import Session, check_installed, onnx_session

HINT = "ONNX Runtime was not tried: pip install onnx onnxscript onnxruntime."


def session(model: nn.Module, shape: tuple[int, int, int]) -> Session | str:
    """A function that runs the network on batches of any size, on one thread; or one line why there is none."""
    try:
        check_installed()
        return onnx_session(model, shape, threads=1)
    except OptionError:
        return HINT
    except Exception as error:  # noqa: BLE001  (exporter and runtime raise anything, and the page does not need them)
        return f"ONNX Runtime was not tried: {first_line(error)}."
