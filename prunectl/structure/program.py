"""Exports a network as a torch.export program for batches of any size."""

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from prunectl.errors import StructureError, first_line
from prunectl.structure.export import quietly

TRACED = 2
"""Images in the traced batch: torch treats a batch of one as a constant."""


def program_of(network: nn.Module, shape: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> ExportedProgram:
    """Trace a network in eval mode that takes images (B, C, H, W) of this type.

    Source lines and paths of this machine, which torch records for every operation, are left out.

    Raises:
        StructureError: torch cannot trace it for batches of any size.
    """
    images = torch.zeros(TRACED, *shape, dtype=dtype)
    try:
        with quietly(), torch.no_grad():
            network(images)  # buffers that the first forward pass creates must exist before tracing
            program = torch.export.export(network, (images,), dynamic_shapes=({0: Dim("batch")},), strict=False)
    except Exception as error:  # the network's own code runs under the tracer, and may raise anything
        raise StructureError(
            f"the network cannot be exported for batches of any size: {first_line(error)}; "
            "look for a fixed batch size in its code, or export a folder"
        ) from error
    for module in program.graph_module.modules():
        for node in getattr(module, "graph", torch.fx.Graph()).nodes:
            node.meta.pop("stack_trace", None)
    return program
