"""A network in ONNX Runtime, where it is installed."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

HINT = "ONNX Runtime was not tried: pip install onnx onnxscript onnxruntime"


def session(model: nn.Module, inputs: Tensor) -> Callable[[], Any] | str:
    """What runs the network on these inputs, on one thread; or in a line, why nothing does."""
    try:
        import onnx  # noqa: F401, PLC0415
        import onnxruntime  # noqa: PLC0415
        import onnxscript  # noqa: F401, PLC0415
    except ImportError:
        return HINT
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own deprecations
            program = torch.onnx.export(model, (inputs,), dynamo=True, verbose=False)
        if program is None:
            return "ONNX Runtime was not tried: torch exported nothing"
        data = program.model_proto.SerializeToString()
    except Exception as error:  # the exporter raises whatever it meets, and the page goes on
        return f"ONNX Runtime was not tried: the export failed ({str(error).partition(chr(10))[0][:120]})"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    ready = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    feed = {ready.get_inputs()[0].name: inputs.numpy()}
    return lambda: ready.run(None, feed)
