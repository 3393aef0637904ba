"""NAME.pt2: a program that torch.export.load reads without the network's code."""

import io
import json
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunectl.errors import StructureError, first_line
from prunectl.structure.export import quietly
from prunectl.structure.program import program_of

EXTRA = "prunectl.json"
"""The file inside the archive that holds the metadata: `torch.export.load(path, extra_files={EXTRA: ""})`."""


def pt2_bytes(network: nn.Module, shape: tuple[int, int, int], metadata: Mapping[str, str]) -> bytes:
    """The archive of a network that takes images (B, C, H, W), for any B.

    Raises:
        StructureError: it cannot be traced or saved.
    """
    program, archive = program_of(network, shape), io.BytesIO()
    try:
        with quietly():
            torch.export.save(program, archive, extra_files={EXTRA: json.dumps(dict(metadata), sort_keys=True)})
    except Exception as error:  # of any type
        raise StructureError(f"the traced network cannot be saved: {first_line(error)}") from error
    return archive.getvalue()


class Loaded:
    """The network that torch.export.load makes of an archive."""

    def __init__(self, data: bytes) -> None:
        with quietly():
            self.network = torch.export.load(io.BytesIO(data)).module()

    def __call__(self, images: Tensor) -> Tensor:
        """Run a batch."""
        found: Tensor = self.network(images)
        return found
