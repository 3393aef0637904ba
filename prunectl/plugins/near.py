"""Suggests names similar to a wrong one, and the functions of a file that was named without one."""

import difflib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from prunectl.errors import UnknownName, cut

_FAR, _CLOSE = 0.6, 0.75
"""Least similarities of names: to be suggested instead of a list, and to be suggested alone."""
_LISTED, _WHOLE, _FUNCTIONS = 5, 10, 6
"""Limits for lists of names: the first of many, all of a few, and the functions of a file."""
_LISTINGS = {
    **{"criterion": "criteria", "model": "models", "data": "datasets", "dataset": "datasets", "attack": "attacks"},
    **{"page of the guide": "guide", "layer": "inspect CHECKPOINT"},
}
"""The commands that list the names of a kind, by its word in messages."""
_PART = 3
"""The least length of a name that is searched within longer ones."""
_CALLED = {
    # criteria
    "magnitude": "l1 l2 l1-unstructured global-unstructured unstructured global",
    "efficient-convnets": "l1 l1-norm l1norm ln-structured filter filters",
    "depgraph": "l2 group group-norm groupnorm torch-pruning magnitudeimportance structured channel channels",
    "taylor": "structured channel channels gradient taylorimportance",
    "network-slimming": "bn bn-scale bnscale bnscaleimportance slim slimming",
    "fpgm": "geometric-median fpgmimportance",
    "obc": "hessian obs sparsegpt optimal-brain-surgeon",
    "fisher": "hessian",
    "imp": "lth lottery lottery-ticket",
    "n:m": "nm semi-structured",
    "snip": "gradient sensitivity connection-sensitivity",
    # scopes and schedules, optimisers and augmentations
    "layer": "local uniform per-layer layerwise",
    "snipit": "iterative",
    "exponential": "iterative",
    "cosine": "cosineannealing cosineannealinglr cosine-annealing",
    "onecycle": "onecyclelr one-cycle",
    "crop": "random-crop randomcrop",
    # attacks
    "standard": "autoattack auto-attack aa",
    "carlini-wagner": "cw c&w",
    "pgd": "bim ifgsm i-fgsm",
    # datasets
    "fashionmnist": "fashion-mnist",
    "imagefolder": "folder imagenet imagenet1k tiny-imagenet tinyimagenet",
    "hf": "huggingface",
    # runtimes and repairs
    "eager": "torch pytorch",
    "compiled": "compile torch.compile inductor",
    "onnx": "onnxruntime ort",
    "refit": "ls lstsq least-squares",
    "noise": "random synthetic",
    # pages of the guide
    "start": "quickstart install installation intro commands",
    "troubleshooting": "faq help errors",
    "deploy": "export onnx",
    "machines": "slurm ray torchrun distributed cluster",
    "robustness": "attack attacks adversarial",
    "migrate": "torch-pruning",
    "python": "api library",
    "choose": "criteria targets pruning",
    "after": "finetune fine-tune repair distillation",
    "during": "train training",
    "data": "datasets models imagefolder",
    "report": "sweep",
    "files": "reproducibility formats",
    "security": "trust",
    "ref-commands": "cli options",
}
"""Our names, and the names that others use."""


def unknown(what: str, name: str, known: Iterable[str], libraries: Sequence[Collection[str]] = ()) -> UnknownName:
    """The error for an unknown name, with the nearest known ones, or some of them."""
    known = list(known)
    called = name.lower().replace("_", "-")
    also = [ours for ours, others in _CALLED.items() if ours in known and called in others.split()]
    meant = " or ".join(f"'{each}'" for each in also or nearest(name, known, libraries))
    library = name.partition("/")[0] if what == "model" and "/" in name else ""
    listing = f"`prunectl {_LISTINGS[what]}{f' {library}' if library else ''}`" if what in _LISTINGS else ""
    hint = f"did you mean {meant}?" if meant else f"known: {some(known, listing)}"
    return UnknownName(f"no {what} named '{cut(name)}'; {hint}")


def some(names: Sequence[str], listing: str) -> str:
    """All names if they are few, else the first, their number, and the command that lists them."""
    if len(names) <= _WHOLE:
        return ", ".join(names)
    return f"{', '.join(names[:_LISTED])}, ... ({len(names)} in total{f': {listing}' if listing else ''})"


def forms(kind: str, known: Iterable[str]) -> str:
    """The forms that the name of a plug-in may have."""
    listed = f"list: `prunectl {_LISTINGS[kind]}`" if kind in _LISTINGS else ", ".join(known)
    return f"a name ({listed}), FILE.py:NAME such as net.py:build, or PACKAGE.MODULE:NAME"


def nearest(name: str, known: Collection[str], libraries: Sequence[Collection[str]] = ()) -> list[str]:
    """The known names that may have been meant, likeliest first; `libraries` have names such as `library/name`.

    A library's network with exactly this name comes before similar names.
    """
    name = name.lower()
    exact = [full for full in (_named(name, library) for library in libraries) if full is not None]
    ours = difflib.get_close_matches(name, known, n=1, cutoff=_FAR)
    exact = [*(each for each in ours if exact and _plain(each) == _plain(name)), *exact]
    if exact or (ours and _similar(name, ours[0])):
        return exact or ours
    short = [{full.partition("/")[2]: full for full in library} for library in libraries]
    theirs = [each[found] for each in short for found in difflib.get_close_matches(name, each, n=1, cutoff=_CLOSE)]
    longer = [each for each in known if len(name) >= _PART and name in each.lower()]
    return theirs or ours or longer[:1]


def functions_in(path: Path) -> list[str] | None:
    """The public functions, classes and results of calls in a Python file, without running it; None if unreadable."""
    import ast  # noqa: PLC0415  (it takes a while, and only a mistake needs it)

    try:
        parts = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return None
    kinds = (ast.FunctionDef, ast.ClassDef)
    defined = [part.name for kind in kinds for part in parts if isinstance(part, kind)]
    made = [part.targets[0] for part in parts if isinstance(part, ast.Assign) and isinstance(part.value, ast.Call)]
    named = [*defined, *(target.id for target in made if isinstance(target, ast.Name))]
    return [name for name in named if not name.startswith("_")]


def without_function(file: str, name: str | None = None) -> str:
    """The message for a `FILE.py:NAME` with a missing or wrong name."""
    found = functions_in(Path(file))
    if found is None:
        return f"'{file}' is not a readable Python file; expected FILE.py:NAME, such as net.py:build"
    if not found:
        return f"'{file}' defines no function; expected FILE.py:NAME, such as net.py:build"
    close = difflib.get_close_matches(name or "", found, n=1)
    wrong = f"'{file}' names no function" if name is None else f"at '{file}:{name}': the file has no '{name}'"
    more = ", ..." if len(found) > _FUNCTIONS else ""
    return f"{wrong}; write {file}:{(close or found)[0]} (the file defines {', '.join(found[:_FUNCTIONS])}{more})"


def _named(name: str, library: Collection[str]) -> str | None:
    return next((full for full in library if full.partition("/")[2] == name), None)


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "")


def _similar(name: str, other: str) -> bool:
    return difflib.SequenceMatcher(None, name, other).ratio() >= _CLOSE
