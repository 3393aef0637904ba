"""A network in ONNX Runtime, if it is installed."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

HINT = "ONNX Runtime was not tried: pip install onnx onnxscript onnxruntime."
Session = Callable[[Tensor], Any]


def session(model: nn.Module, shape: tuple[int, int, int]) -> Session | str:
    """A function that runs the network on batches of any size, on one thread; or one line why there is none."""
    try:
        import onnx  # noqa: F401, PLC0415
        import onnxruntime  # noqa: PLC0415
        import onnxscript  # noqa: F401, PLC0415
    except ImportError:
        return HINT
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    try:
        data = _exported(model, shape)
        ready = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  (exporter and runtime raise errors of any type, and the page does not need them)
        what = str(error).strip().partition("\n")[0][:120]
        return f"ONNX Runtime was not tried: the export failed ({type(error).__name__}: {what})."
    name = ready.get_inputs()[0].name
    return lambda inputs: ready.run(None, {name: inputs.numpy()})


def _exported(model: nn.Module, shape: tuple[int, int, int]) -> bytes:
    inputs = torch.zeros(2, *shape)
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own deprecations
        program = torch.onnx.export(model, (inputs,), dynamo=True, verbose=False, dynamic_shapes=({0: batch},))
    assert program is not None
    data: bytes = program.model_proto.SerializeToString()
    return data
