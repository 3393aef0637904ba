"""ONNX files: exported by torch, run in ONNX Runtime before they are written."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.errors import OptionError, StructureError
from prunectl.exchange.check import first_line
from prunectl.exchange.trace import TRACED, program_of
from prunectl.structure.export import quietly

HINT = "ONNX files need packages that are not installed: pip install 'prunectl[onnx]'"


def check_installed() -> None:
    """Refuse early where the packages of the extra are missing.

    Raises:
        OptionError: they are.
    """
    try:
        for name in ("onnx", "onnxscript", "onnxruntime"):
            import_module(name)
    except ImportError as error:
        raise OptionError(f"{HINT} ({error})") from error


def onnx_bytes(
    network: nn.Module, shape: tuple[int, int, int], *, names: tuple[str, str], metadata: Mapping[str, str]
) -> bytes:
    """The ONNX file of a network that takes float32 images (B, C, H, W), for any B; `names` are of input and output.

    Raises:
        StructureError: it cannot be traced, holds an operation that ONNX has not, or is larger than 2 GB.
    """
    program = program_of(network, shape)
    try:
        with quietly():
            made = torch.onnx.export(
                program,
                (torch.zeros(TRACED, *shape),),
                input_names=[names[0]],
                output_names=[names[1]],
                dynamo=True,
                verbose=False,
            )
        assert made is not None
        return with_metadata(made.model_proto, metadata)
    except Exception as error:  # the exporter and protobuf raise errors of any type
        raise StructureError(
            f"the network cannot be exported to ONNX ({type(error).__name__}: {first_line(error)}); "
            "export NAME.pt2 in its place"
        ) from error


def with_metadata(model: Any, metadata: Mapping[str, str]) -> bytes:
    """Serialise a model with these texts, without the exporter's notes on source lines and paths of this machine."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
    for values in (model.graph.value_info, model.graph.initializer, model.graph.input, model.graph.output):
        for value in values:
            del value.metadata_props[:]
    del model.graph.metadata_props[:], model.metadata_props[:]
    for key, text in sorted(metadata.items()):
        model.metadata_props.add(key=key, value=text)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


class Session:
    """A network in ONNX Runtime on the cpu: float32 images (B, C, H, W) in, float32 (B, classes) out."""

    def __init__(self, data: bytes) -> None:
        import onnxruntime  # noqa: PLC0415

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        self.session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def __call__(self, images: Tensor) -> Tensor:
        """Run a batch."""
        (found,) = self.session.run(None, {self.input: images.numpy()})
        return torch.from_numpy(found)
