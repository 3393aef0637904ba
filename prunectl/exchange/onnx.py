"""Makes ONNX files: torch exports them, and ONNX Runtime runs them before they are written."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from prunectl.errors import StructureError, first_line
from prunectl.measuring.onnx import onnx_model


def onnx_bytes(
    network: nn.Module, shape: tuple[int, int, int], *, names: tuple[str, str], metadata: Mapping[str, str]
) -> bytes:
    """The ONNX file of a network that takes float32 images (B, C, H, W), for any B; `names` name input and output.

    Raises:
        StructureError: it cannot be traced, has an operation that ONNX lacks, or is larger than 2 GB.
    """
    model = onnx_model(network, shape, names=names)
    try:
        return with_metadata(model, metadata)
    except Exception as error:  # protobuf raises errors of any type
        raise StructureError(
            f"the network cannot be exported to ONNX ({type(error).__name__}: {first_line(error)}); "
            "export NAME.pt2 instead"
        ) from error


def with_metadata(model: Any, metadata: Mapping[str, str]) -> bytes:
    """Serialise a model with this metadata, without the exporter's notes on source lines and paths of this machine."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
    _name_batch_(model.graph)
    for values in (model.graph.value_info, model.graph.initializer, model.graph.input, model.graph.output):
        for value in values:
            del value.metadata_props[:]
    del model.graph.metadata_props[:], model.metadata_props[:]
    for key, text in sorted(metadata.items()):
        model.metadata_props.add(key=key, value=text)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _name_batch_(graph: Any) -> None:
    """Name the batch dimension "batch"; the exporter only numbers its symbols."""
    symbol = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param == symbol:
                size.dim_param = "batch"
