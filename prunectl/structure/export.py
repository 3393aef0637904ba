"""Exports a network as a graph of torch's own operations, with torch.export."""

import contextlib
import gc
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.fx.config
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from prunectl.errors import StructureError
from prunectl.structure.aliasing import written_by
from prunectl.structure.regions import inline_
from prunectl.torchtools.contexts import slow_attention
from prunectl.torchtools.copies import with_tensors

BATCH = 2
"""Images in the traced batch: a batch of one would be treated as a constant."""


@dataclass(frozen=True, eq=False)
class Graph:
    """Operations in order; `tensors` maps each placeholder to its parameter, buffer or constant.

    The names are those of the network's state_dict (also for unsaved buffers). `images` are the placeholders of the
    inputs, `outputs` the nodes that the network returns.
    """

    module: fx.GraphModule
    names: dict[fx.Node, str]
    constants: dict[fx.Node, Tensor]
    images: list[fx.Node]
    outputs: list[fx.Node]

    @property
    def casts(self) -> bool:
        """Whether the network computes something in a floating-point type other than that of its images."""
        made = (node.meta.get("val") for node in self.nodes)
        types = {value.dtype for value in made if isinstance(value, Tensor) and value.is_floating_point()}
        return len(types) > 1

    @property
    def nodes(self) -> list[fx.Node]:
        """Every node, in order."""
        return list(self.module.graph.nodes)


def export(
    model: nn.Module,
    shape: tuple[int, int, int],
    *,
    training: bool = False,
    any_batch: bool = False,
    lines: bool = True,
    pure: bool = False,
) -> Graph:
    """Trace a network that takes images (B, C, H, W), on a batch of `BATCH`.

    With `any_batch` the graph runs on any number of images, if the network allows that; without it, which is enough to
    follow the structure, tracing takes a third to two thirds of the time. Without `lines`, operations do not have their
    source line, and tracing takes a sixth to a third less. With `pure`, a graph that would write into memory that other
    operations read makes new tensors instead; BatchNorm is then `_native_batch_norm_legit_no_training`, the first of
    three results.

    Raises:
        StructureError: it cannot be traced; the error names the failing line of the network's source.
    """
    copied = with_tensors(model, _shared)
    copied.train(training)
    images = _images(copied, shape)
    before = _attributes(copied)
    try:
        program = _exported(copied, images, any_batch, lines)
    except Exception as error:  # noqa: BLE001  (the network's own code runs under the tracer, and may raise anything)
        first = error
        program = None
    if program is None or _attributes(copied) != before:
        # buffers that the first forward pass creates must exist before tracing
        copied = with_tensors(model, _shared).eval()
        try:
            with torch.no_grad():
                copied(images)
            program = _exported(copied.train(training), images, any_batch, lines)
        except Exception as error:
            raise StructureError(_message(first if program is None else error)) from error
    return _read(_without_writes(program) if pure else program)


def _without_writes(program: ExportedProgram) -> ExportedProgram:
    """The same program without in-place writes that other operations read."""
    order = {node: i for i, node in enumerate(program.graph.nodes)}
    for node, place in order.items():
        if any(order[user] > place for shared in written_by(node) for user in shared.users):
            with quietly():
                return cast(ExportedProgram, program.run_decompositions({}))
    return program


def _shared(tensor: Tensor) -> Tensor:
    """The same values in a separate tensor object on the cpu: tracing needs nothing on a gpu."""
    values = on_cpu(tensor)
    return nn.Parameter(values, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else values


def on_cpu(tensor: Tensor) -> Tensor:
    """A tensor on the cpu; one on the meta device, which has no values, becomes zeros that take no memory."""
    if tensor.is_meta:
        return torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
    return tensor.detach().cpu()


def _images(model: nn.Module, shape: tuple[int, int, int]) -> Tensor:
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    generator = torch.Generator().manual_seed(0)
    return torch.randn(BATCH, *shape, generator=generator).to(weight)


def _exported(model: nn.Module, images: Tensor, any_batch: bool, lines: bool) -> ExportedProgram:
    sizes = ({0: Dim.AUTO},) if any_batch else None
    with quietly(), slow_attention(), _lean(lines):
        return torch.export.export(model, (images,), dynamic_shapes=sizes, strict=False)


@contextlib.contextmanager
def _lean(lines: bool) -> Iterator[None]:
    """Trace faster, without garbage collection and, on request, without source lines.

    Releases of torch without this switch record the lines.
    """
    collects, config = gc.isenabled(), torch.fx.config
    before = getattr(config, "do_not_emit_stack_traces", False)
    gc.disable()
    config.do_not_emit_stack_traces = before or not lines
    try:
        yield
    finally:
        config.do_not_emit_stack_traces = before
        if collects:
            gc.enable()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Suppress torch's warnings about foreign networks while tracing, and the output of exporters."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(io.StringIO()),
            contextlib.redirect_stdout(io.StringIO()),  # the stdout of a command holds only a path
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _attributes(model: nn.Module) -> dict[str, int]:
    """The identities of all tensors that a module holds."""
    return {
        f"{name}.{key}": id(value)
        for name, module in model.named_modules()
        for key, value in (*module.__dict__.items(), *module._buffers.items())
        if isinstance(value, Tensor)
    }


def _message(error: Exception) -> str:
    """One line: the error, and the last line of the network's own source that led to it."""
    where = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and not type(owner).__module__.startswith(("torch.nn", "torch.fx")):
            where = f" at {code.co_filename}:{trace.tb_lineno} ({type(owner).__name__}.{code.co_name})"
        trace = trace.tb_next
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode  # noqa: PLC0415  (loads sympy)

    what = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if isinstance(error, GuardOnDataDependentSymNode):
        what = "it branches on values of tensors; write it without a branch (torch.where), or prune weights"
    return f"the network's structure cannot be traced{where}: {what.strip()}"


def _read(program: ExportedProgram) -> Graph:
    """Sort the placeholders of an exported program by kind."""
    module = program.graph_module
    names: dict[fx.Node, str] = {}
    constants: dict[fx.Node, Tensor] = {}
    images: list[fx.Node] = []
    by_name = {node.name: node for node in module.graph.nodes}
    for spec in program.graph_signature.input_specs:
        node = by_name[spec.arg.name]
        if spec.kind == InputKind.USER_INPUT:
            images.append(node)
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            names[node] = str(spec.target)
        elif spec.kind == InputKind.CONSTANT_TENSOR:
            constants[node] = program.constants[str(spec.target)]
        else:
            raise StructureError(f"the network's structure cannot be traced: input '{spec.arg.name}' is {spec.kind}")
    results = [s for s in program.graph_signature.output_specs if s.kind == OutputKind.USER_OUTPUT]
    wanted = [i for i, spec in enumerate(program.graph_signature.output_specs) if spec in results]
    inline_(module)
    ends = next(node for node in reversed(module.graph.nodes) if node.op == "output").args[0]
    outputs = [ends[i] for i in wanted if isinstance(ends[i], fx.Node)]
    return Graph(module, names, constants, images, outputs)


def sizes(value: Any) -> tuple[int, ...]:
    """The shape of a traced tensor, as numbers for the traced batch."""
    return tuple(hint(size) for size in value.shape)


def hint(size: Any) -> int:
    """The number for a size that may depend on the batch."""
    return cast(int, size.node.hint) if isinstance(size, torch.SymInt) else int(size)


def line_of(node: fx.Node) -> str:
    """The line of the network's source that an operation comes from: `file.py:12: code`."""
    frames = [part for part in str(node.meta.get("stack_trace") or "").split("\n") if part.strip()]
    for i in range(len(frames) - 1, -1, -1):
        text = frames[i].strip()
        if text.startswith("File ") and "/torch/nn/modules/" not in text and "/torch/nn/functional" not in text:
            place = text.split('"')[1].rsplit("/", 1)[-1]
            number = text.split(" line ")[1].split(",")[0]
            code = frames[i + 1].strip() if i + 1 < len(frames) else ""
            return f"{place}:{number}: {code}"[:140]
    return ""


def owner_of(node: fx.Node) -> str:
    """The qualified name of the module that runs an operation, "" for the network itself."""
    stack = node.meta.get("nn_module_stack") or {}
    path = str(next(reversed(list(stack.values())))[0]) if stack else ""
    return path.removeprefix("L['self'].").removeprefix("L['self']")


def bind(node: fx.Node) -> dict[str, Any]:
    """The arguments of an operation by the names of its schema, with defaults."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {str(i): argument for i, argument in enumerate(node.args)}
    bound = {}
    for i, argument in enumerate(schema.arguments):
        if i < len(node.args) and not argument.kwarg_only:
            bound[argument.name] = node.args[i]
        elif argument.name in node.kwargs:
            bound[argument.name] = node.kwargs[argument.name]
        else:
            bound[argument.name] = argument.default_value if argument.has_default_value() else None
    return bound


def packet(node: fx.Node) -> str:
    """The name of an operation, without overload and without the mark of in-place operations."""
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        name = target._schema.name.partition("::")[2]
        return name[:-1] if name.endswith("_") and not name.endswith("__") else name
    return str(getattr(target, "__name__", target))
