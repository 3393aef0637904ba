"""NAME.py: a short program that builds the network from its own library and loads NAME.safetensors."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from prunectl.checkpoints import files
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.pixels import deployed
from prunectl.errors import FileError, StructureError, first_line
from prunectl.exchange.builder_source import builder_source
from prunectl.exchange.check import check_close, worst_difference
from prunectl.plugins.places import known
from prunectl.structure.surgery.plan import Plan
from prunectl.structure.surgery.proof import drawn_for
from prunectl.torchtools.temporaries import temporary_folder
from prunectl.version import __version__

MOST_LINES = 40
_WIDTH = 100
_EDITED = """\
    for attribute, values in ATTRIBUTES.items():
        for name, value in values.items():
            setattr(network.get_submodule(name), attribute, value)
"""
_RESIZED = """\
    for name, tensor in load_file(path).items():
        owner, _, leaf = name.rpartition(".")
        module = network.get_submodule(owner)
        if leaf in module._parameters:
            module._parameters[leaf] = nn.Parameter(tensor)
        else:
            module._buffers[leaf] = tensor
        if isinstance(module, nn.Linear) and leaf == "weight":
            module.out_features, module.in_features = tensor.shape
        elif isinstance(module, nn.Conv2d) and leaf == "weight":
            module.out_channels, module.in_channels = tensor.shape[0], tensor.shape[1] * module.groups
"""
_WHOLE = "    network.load_state_dict(load_file(path))\n"


def check_loader(path: Path, source: Path | None, *, force: bool) -> None:
    """Refuse targets that must not be written; weights that are the checkpoint itself are left alone.

    Raises:
        FileError: one exists and `force` is False, or it cannot be written.
    """
    files.check_target(path, force=force)
    if not path.stem.isidentifier():
        raise FileError(f"Python cannot import a file named {path}; choose a name of letters, digits and _")
    weights = path.with_suffix(".safetensors")
    if not _is_same(weights, source):
        files.check_target(weights, force=force)


def write_loader(checkpoint: Checkpoint, path: Path, source: Path | None) -> tuple[int, float]:
    """Run the program, then write both files; return their bytes and how much the loaded network differs.

    Raises:
        StructureError: the network does not run on its own modules, or nothing but prunectl builds it.
        ProofError: the program loads a network that computes something else.
        FileError: they cannot be written; nothing is left.
    """
    text, weights = loader_source(checkpoint, path), path.with_suffix(".safetensors")
    state = {name: tensor.detach().contiguous().clone() for name, tensor in checkpoint.model.state_dict().items()}
    data = save(state, {"format": "pt"})
    draw = drawn_for(checkpoint.model, checkpoint.spec.input, checkpoint.preprocessing)
    with temporary_folder(Path(tempfile.gettempdir()), "prunectl-loader") as folder:
        (folder / weights.name).write_bytes(data)
        loaded = _loaded(text, path, folder / weights.name)
        found = worst_difference(deployed(checkpoint.model), deployed(loaded), checkpoint.spec.input, draw)
    check_close(found, 1e-5, "the network that the loader loads")
    begun = None if _is_same(weights, source) or weights.exists() else weights
    if not _is_same(weights, source):
        files.write(weights, data)
    try:
        files.write(path, text.encode())
    except FileError:
        if begun is not None:
            with contextlib.suppress(OSError):
                begun.unlink()
        raise
    return len(data) + len(text.encode()), found


def loader_source(checkpoint: Checkpoint, path: Path) -> str:
    """The program at `path`.

    Raises:
        StructureError: the network does not run on its own modules, or nothing but prunectl builds it.
    """
    plan = Plan.of(checkpoint.edits)
    swapped = next((edit for edit in plan.edits if "swap" in edit), None)
    if plan.graph or swapped is not None:
        why = "a rewritten graph" if swapped is None else f"prunectl's {swapped['swap']} in {swapped['module']}"
        raise StructureError(f"the network runs {why}, which its library cannot build; export NAME.onnx or NAME.pt2")
    spec, shrunk = checkpoint.spec, bool(plan.kept)
    with known(checkpoint.places):
        imports, call = builder_source(spec, path)
    attributes = _attributes(plan)
    size = ", ".join(map(str, spec.input))
    how = checkpoint.preprocessing
    sent = "pixels in [0, 1]\nminus MEAN, divided by STD" if how.known else "normalised as they\nwere when it was made"
    constants = {
        **({"MEAN": tuple(how.mean), "STD": tuple(how.std)} if how.known else {}),
        **({"NAMES": checkpoint.names} if checkpoint.names else {}),
        **({"ATTRIBUTES": attributes} if attributes else {}),
    }
    head = (
        f'"""{_quoted(spec.name)}{", shrunk" if shrunk else ""}: written by prunectl {__version__}.\n\n'
        f"load() takes the weights beside this file. The network maps images (B, {size}), which are {sent},"
        f' to logits (B, {spec.classes}).\n"""\n\n' + _imports(imports, ["from torch import nn"] if shrunk else [])
    )
    body = (
        '\n\ndef load(path=Path(__file__).with_suffix(".safetensors")):\n'
        '    """The network in eval mode, on the cpu."""\n'
        f"    network = {call}\n{_EDITED if attributes else ''}{_RESIZED if shrunk else _WHOLE}"
        "    return network.eval()\n"
    )
    text = head + _constants(constants, _WIDTH) + body
    return text if text.count("\n") <= MOST_LINES else head + _constants(constants, None) + body


def _quoted(name: str) -> str:
    """The name, escaped so that it cannot end the string around it: a stranger's file may hold any name."""
    return repr(name)[1:-1].replace('"', "'")


def _attributes(plan: Plan) -> dict[str, dict[str, Any]]:
    """The values to set, by attribute and module."""
    found: dict[str, dict[str, Any]] = {}
    for edit in plan.edits:
        value = tuple(edit["value"]) if isinstance(edit["value"], list) else edit["value"]
        found.setdefault(edit["attribute"], {})[edit["module"]] = value
    return found


def _imports(own: list[str], more: list[str]) -> str:
    """The program's imports: standard library, others, then statements that load a file."""
    standard = [line for line in own if line == "import importlib.util"] + ["from pathlib import Path"]
    others = sorted(["from safetensors.torch import load_file", *more, *(x for x in own if x.startswith("from "))])
    rest = [line for line in own if line not in standard and line not in others]
    return "\n".join([*standard, "", *others, *([""] if rest else []), *rest, "", ""])


def _constants(values: dict[str, Any], width: int | None) -> str:
    """Assignments, wrapped at a width if there is one, else one line each."""
    lines = []
    for name, value in values.items():
        text = f"{name} = {value!r}"
        lines.append(text if width is None or len(text) <= width else _wrapped(name, value, width))
    return "\n".join(lines) + "\n"


def _wrapped(name: str, value: Any, width: int) -> str:
    """An assignment over several lines."""
    from pprint import pformat  # noqa: PLC0415

    text = pformat(value, width=width, compact=True, sort_dicts=False)
    return f"{name} = " + text.replace("\n", "\n" + " " * (len(name) + 3))


def _loaded(text: str, path: Path, weights: Path) -> nn.Module:
    """The network that the program loads when run at `path`."""
    scope = {"__file__": str(path.absolute()), "__name__": path.stem}
    try:
        exec(compile(text, str(path), "exec"), scope)  # noqa: S102  (written above, from values that are quoted)
        network: Any = scope["load"]
        loaded: nn.Module = network(weights)
    except Exception as error:  # the network's own code may raise anything
        raise StructureError(
            f"the network's library cannot build this network: {first_line(error)}; export NAME.onnx or NAME.pt2"
        ) from error
    return loaded


def _is_same(weights: Path, source: Path | None) -> bool:
    return source is not None and weights.exists() and weights.resolve() == source.resolve()
