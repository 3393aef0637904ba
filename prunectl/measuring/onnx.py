"""Runs networks in ONNX Runtime, exported by torch."""

from importlib import import_module
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.errors import OptionError, StructureError, first_line
from prunectl.structure.export import quietly
from prunectl.structure.program import TRACED, program_of
from prunectl.torchtools.temporaries import temporary_folder

ONNX_FOLDER = "prunectl-onnx"
"""A folder in $TMPDIR from which a `Session` reads; leftovers of a kill are removed with the next one."""
HINT = "ONNX files need packages that are not installed: pip install 'prunectl[onnx]'"


def check_installed() -> None:
    """Refuse early if the packages of the extra are missing.

    Raises:
        OptionError: they are missing.
    """
    try:
        for name in ("onnx", "onnxscript", "onnxruntime"):
            import_module(name)
    except ImportError as error:
        raise OptionError(f"{HINT} ({error})") from error


def onnx_model(network: nn.Module, shape: tuple[int, int, int], *, names: tuple[str, str] = ("input", "logits")) -> Any:
    """The ONNX ModelProto of a network that takes float32 images (B, C, H, W), for any B.

    `names` are those of input and output.

    Raises:
        StructureError: it cannot be traced, or has an operation that ONNX lacks.
    """
    return _exported(network, shape, names).model_proto


def onnx_session(network: nn.Module, shape: tuple[int, int, int], *, threads: int | None = None) -> "Session":
    """A network in ONNX Runtime, loaded from a temporary file, so that memory holds one copy of its weights.

    Raises:
        StructureError: as `onnx_model`.
        OptionError: the file cannot be written.
    """
    try:
        with temporary_folder(Path(gettempdir()), ONNX_FOLDER) as folder:
            path = Path(folder, "network.onnx")
            write_onnx(network, shape, path)
            return Session(path, threads=threads)
    except OSError as error:
        raise OptionError(f"cannot write the network for ONNX Runtime ({error}); make room, or set TMPDIR") from error


def write_onnx(network: nn.Module, shape: tuple[int, int, int], path: Path) -> None:
    """Write a network for ONNX Runtime, with its weights in a file beside it, which a `Session` maps.

    Raises:
        StructureError: as `onnx_model`.
        OSError: the files cannot be written.
    """
    _exported(network, shape, ("input", "logits")).save(path, external_data=True)


def _exported(network: nn.Module, shape: tuple[int, int, int], names: tuple[str, str]) -> torch.onnx.ONNXProgram:
    """The network's export by torch, see `onnx_model`."""
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
        return made
    except Exception as error:  # the exporter raises errors of any type
        raise StructureError(
            f"the network cannot be exported to ONNX ({type(error).__name__}: {first_line(error)}); "
            "export NAME.pt2 instead"
        ) from error


class Session:
    """A network in ONNX Runtime on the cpu: float32 images (B, C, H, W) in, float32 (B, classes) out.

    `threads` defaults to torch's number.
    """

    def __init__(self, data: bytes | Path, *, threads: int | None = None) -> None:
        import onnxruntime  # noqa: PLC0415

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.log_severity_level = 3  # errors
        self.session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def __call__(self, images: Tensor) -> Tensor:
        """Run a batch."""
        (found,) = self.session.run(None, {self.input: images.numpy()})
        return torch.from_numpy(found)
