"""Runs a network in a runtime whose latency is measured."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import torch
from torch import Tensor, nn

from prunectl.checkpoints.options.runtimes import check_runtimes
from prunectl.checkpoints.pixels import deployed
from prunectl.errors import OptionError, StructureError, first_line
from prunectl.measuring.onnx import check_installed, onnx_session
from prunectl.structure.export import quietly
from prunectl.torchtools.contexts import one_thread

_NO_COMPILER = "No working C++ compiler"
_MOST_COMPILATIONS = 256
"""Most compilations of one function: torch's limit, 8, would silently run later networks of the same class eagerly."""


@dataclass(frozen=True, eq=False)
class Ready:
    """`run` computes one batch and returns when its device is done; `compile_s` are the seconds of compiling it."""

    run: Callable[[], object]
    compile_s: float | None = None


def check_available(runtime: str, device: torch.device) -> None:
    """Refuse early a runtime that cannot run here.

    Raises:
        UnknownName: no such runtime.
        OptionError: ONNX Runtime or a C++ compiler is missing, or the network is not on the cpu for ONNX Runtime.
    """
    check_runtimes([runtime])
    if runtime == "onnx":
        check_installed()
        if device.type != "cpu":
            raise OptionError(f"`runtime` onnx measures on the cpu, the network is on {device.type}; use `device` cpu")
    if runtime == "compiled" and device.type == "cpu":
        from torch._inductor.cpp_builder import get_cpp_compiler  # noqa: PLC0415

        try:
            with quietly():
                get_cpp_compiler()
        except Exception as error:
            raise _no_compiler() from error


def network_in(runtime: str, model: nn.Module, shape: tuple[int, int, int]) -> Callable[[Tensor], object]:
    """A function that runs a network, in eval mode, on a batch of images; it computes in one CPU thread.

    Raises:
        StructureError: the network cannot be exported to ONNX.
    """
    if runtime == "onnx":
        return onnx_session(deployed(model), shape, threads=1)
    if runtime == "compiled":
        compiled: Callable[[Tensor], object] = torch.compile(model, dynamic=False)
        return compiled
    return model


def ready(network: Callable[[Tensor], object], runtime: str, inputs: Tensor) -> Ready:
    """Prepare the result of `network_in` for one batch: torch.compile compiles for every batch size.

    Raises:
        OptionError: there is no C++ compiler.
        StructureError: torch cannot compile the network.
    """
    run = forward_pass(network, inputs.float() if runtime == "onnx" else inputs)
    return Ready(run, _compile_seconds(run)) if runtime == "compiled" else Ready(run)


def forward_pass(network: Callable[[Tensor], object], inputs: Tensor) -> Callable[[], object]:
    """A call that runs the network on a batch and returns when its device is done."""
    if inputs.device.type == "cpu":
        return partial(network, inputs)

    def run() -> None:
        network(inputs)
        torch.accelerator.synchronize(inputs.device)

    return run


def _compile_seconds(run: Callable[[], object]) -> float:
    """Compile by a first call, with the settings of timed calls: torch recompiles if these change."""
    from torch._dynamo import config as tracer  # noqa: PLC0415  (loads the compiler)
    from torch._inductor import config as compiler  # noqa: PLC0415

    begun = perf_counter()
    patched = tracer.patch(recompile_limit=_MOST_COMPILATIONS), compiler.patch(compile_threads=1)
    try:  # more compile threads are processes, which would run beside the timed calls
        with patched[0], patched[1], quietly(), one_thread(), torch.inference_mode():
            run()
    except Exception as error:  # torch, and the network's own code, raise errors of any type
        if _NO_COMPILER in str(error):
            raise _no_compiler() from error
        raise StructureError(
            f"torch.compile cannot compile the network: {first_line(error)}; use another `runtime`"
        ) from error
    return perf_counter() - begun


def _no_compiler() -> OptionError:
    return OptionError(
        "`runtime` compiled needs a C++ compiler, but none was found; install g++, or name one in the variable CXX"
    )
