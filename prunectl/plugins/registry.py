"""Names are data: every plug-in is one line in a table, `name -> "module:attribute"`, imported when it is used."""

import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunectl.errors import OptionError, UnknownName, UntrustedCode
from prunectl.plugins.code_files import import_file
from prunectl.plugins.libraries import READABLE, library_names
from prunectl.plugins.near import forms, without_function
from prunectl.plugins.near import unknown as unknown  # noqa: PLC0414  (many import it from here)
from prunectl.plugins.places import placed
from prunectl.plugins.trust import is_trusted

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

TABLES: dict[str, dict[str, str]] = {
    "criterion": {
        "snip": "prunectl.criteria.snip:snip",
        "snipit": "prunectl.criteria.snip:snipit",
        "snipit-during": "prunectl.criteria.snip:snipit_during",
        "grasp": "prunectl.criteria.grasp:grasp",
        "iterative-grasp": "prunectl.criteria.grasp:iterative_grasp",
        "synflow": "prunectl.criteria.synflow:synflow",
        "force": "prunectl.criteria.force:force",
        "prospr": "prunectl.criteria.prospr:prospr",
        "ntk-sap": "prunectl.criteria.ntk_sap:ntk_sap",
        "phew": "prunectl.criteria.phew:phew",
        "magnitude": "prunectl.criteria.magnitude:magnitude",
        "lamp": "prunectl.criteria.magnitude:lamp",
        "n:m": "prunectl.criteria.magnitude:n_m",
        "wanda": "prunectl.criteria.wanda:wanda",
        "obc": "prunectl.criteria.obc:obc",
        "gmp": "prunectl.criteria.magnitude:gmp",
        "imp": "prunectl.criteria.magnitude:imp",
        "rigl": "prunectl.criteria.drop_grow:rigl",
        "set": "prunectl.criteria.drop_grow:set_",
        "ac-dc": "prunectl.criteria.ac_dc:ac_dc",
        "granet": "prunectl.criteria.granet:granet",
        "top-kast": "prunectl.criteria.top_kast:top_kast",
        "sr-ste": "prunectl.criteria.sr_ste:sr_ste",
        "hoyer-square": "prunectl.criteria.hoyer:hoyer_square",
        "random": "prunectl.criteria.random:random",
        "erk": "prunectl.criteria.random:erk",
        "snap": "prunectl.criteria.snap:snap",
        "snapit": "prunectl.criteria.snap:snapit",
        "snapit-during": "prunectl.criteria.snap:snapit_during",
        "cnip": "prunectl.criteria.cnip:cnip",
        "cnipit": "prunectl.criteria.cnip:cnipit",
        "cnipit-during": "prunectl.criteria.cnip:cnipit_during",
        "structured-grasp": "prunectl.criteria.grasp:structured_grasp",
        "group-hoyer-square": "prunectl.criteria.hoyer:group_hoyer_square",
        "gate-decorators": "prunectl.criteria.gate_decorators:gate_decorators",
        "l0": "prunectl.criteria.l0:l0",
        "network-slimming": "prunectl.criteria.network_slimming:network_slimming",
        "taylor": "prunectl.criteria.taylor:taylor",
        "structured-random": "prunectl.criteria.structured_random:structured_random",
        "efficient-convnets": "prunectl.criteria.efficient_convnets:efficient_convnets",
        "fpgm": "prunectl.criteria.fpgm:fpgm",
        "hrank": "prunectl.criteria.hrank:hrank",
        "chip": "prunectl.criteria.chip:chip",
        "depgraph": "prunectl.criteria.depgraph:depgraph",
        "fisher": "prunectl.criteria.fisher:fisher",
        "obspa": "prunectl.criteria.obspa:obspa",
    },
    "schedule": {
        "one-shot": "prunectl.criteria.base.schedules:one_shot",
        "snipit": "prunectl.criteria.base.schedules:snipit",
        "exponential": "prunectl.criteria.base.schedules:exponential",
        "cubic": "prunectl.criteria.base.schedules:cubic",
        "cubic-hold": "prunectl.criteria.base.schedules:cubic_hold",
        "constant": "prunectl.criteria.base.schedules:constant",
        "alternating": "prunectl.criteria.base.schedules:alternating",
    },
    "model": {
        "logistic-regression": "prunectl.models.linear:logistic_regression",
        "mlp5": "prunectl.models.mlp:mlp5",
        "lenet300": "prunectl.models.mlp:lenet300",
        "lenet5": "prunectl.models.lenet:lenet5",
        "conv6": "prunectl.models.conv:conv6",
        "conv-only": "prunectl.models.conv:conv_only",
        "alexnet": "prunectl.models.alexnet:alexnet",
        "vgg16": "prunectl.models.vgg:vgg16",
        "resnet18": "prunectl.models.resnet:resnet18",
        "resnet34": "prunectl.models.resnet:resnet34",
        "resnet20": "prunectl.models.cifar_resnet:resnet20",
        "resnet56": "prunectl.models.cifar_resnet:resnet56",
        "wrn-16-4": "prunectl.models.wide_resnet:wrn_16_4",
        "vgg19-bn": "prunectl.models.vgg:vgg19_bn",
        "mobilenetv2-cifar": "prunectl.models.mobilenet:mobilenetv2_cifar",
        "vit-tiny-cifar": "prunectl.models.vit:vit_tiny_cifar",
    },
    "data": {
        "digits": "prunectl.data.sets.digits:digits",
        "mnist": "prunectl.data.sets.idx:mnist",
        "fashionmnist": "prunectl.data.sets.idx:fashionmnist",
        "kmnist": "prunectl.data.sets.idx:kmnist",
        "cifar10": "prunectl.data.sets.cifar:cifar10",
        "cifar100": "prunectl.data.sets.cifar:cifar100",
        "svhn": "prunectl.data.sets.svhn:svhn",
        "omniglot": "prunectl.data.sets.omniglot:omniglot",
        "imagenette": "prunectl.data.sets.imagenette:imagenette",
        "imagefolder": "prunectl.data.sets.imagefolder:imagefolder",
        "hf": "prunectl.data.sets.huggingface:hf",
        "webdataset": "prunectl.data.sets.webdataset:webdataset",
        "synthetic": "prunectl.data.sets.synthetic:synthetic",
    },
    "attack": {
        "fgsm": "foolbox.attacks:LinfFastGradientAttack",
        "pgd": "prunectl.robustness.attacks.pgd:pgd",
        "linf-pgd": "prunectl.robustness.attacks.pgd:pgd",
        "apgd-ce": "prunectl.robustness.attacks.apgd:apgd_ce",
        "apgd-dlr": "prunectl.robustness.attacks.apgd:apgd_dlr",
        "apgd-t": "prunectl.robustness.attacks.apgd:apgd_t",
        "square": "prunectl.robustness.attacks.square:square",
        "linf-deepfool": "prunectl.robustness.attacks.deepfool:linf_deepfool",
        "linf-fmn": "foolbox.attacks:LInfFMNAttack",
        "deepfool": "prunectl.robustness.attacks.deepfool:deepfool",
        "carlini-wagner": "prunectl.robustness.attacks.penalty:carlini_wagner",
        "ddn": "foolbox.attacks:DDNAttack",
        "fmn": "foolbox.attacks:L2FMNAttack",
        "salt-and-pepper": "foolbox.attacks:SaltAndPepperNoiseAttack",
        "gaussian-noise": "foolbox.attacks:L2AdditiveGaussianNoiseAttack",
        "l2-fgsm": "foolbox.attacks:L2FastGradientAttack",
        "l2-pgd": "prunectl.robustness.attacks.pgd:l2_pgd",
        "l2-apgd-ce": "prunectl.robustness.attacks.apgd:l2_apgd_ce",
        "l2-apgd-dlr": "prunectl.robustness.attacks.apgd:l2_apgd_dlr",
        "l2-apgd-t": "prunectl.robustness.attacks.apgd:l2_apgd_t",
        "l2-square": "prunectl.robustness.attacks.square:l2_square",
        "l1-fgm": "foolbox.attacks:L1FastGradientAttack",
        "l1-fgsm": "foolbox.attacks:L1FastGradientAttack",
        "l1-pgd": "prunectl.robustness.attacks.pgd:l1_pgd",
        "l1-fmn": "foolbox.attacks:L1FMNAttack",
        "ead": "prunectl.robustness.attacks.penalty:ead",
        "l0-fmn": "foolbox.attacks:L0FMNAttack",
    },
    "optimizer": {
        "adam": "torch.optim:Adam",
        "adamw": "torch.optim:AdamW",
        "sgd": "torch.optim:SGD",
        "rmsprop": "torch.optim:RMSprop",
    },
    "regularizer": {
        "l1": "prunectl.training.regularizers.lp:l1",
        "lp": "prunectl.training.regularizers.lp:lp",
        "bn-l1": "prunectl.training.regularizers.hoyer:bn_scales",
        "hoyer-square": "prunectl.training.regularizers.hoyer:hoyer_square",
        "group-hoyer-square": "prunectl.training.regularizers.hoyer:group_hoyer_square",
    },
}
NOUNS = {"data": "dataset"}
"""The word for a kind in messages, if it differs."""
LIBRARIES: dict[str, dict[str, str]] = {
    "model": {
        "torchvision": "prunectl.models.torchvision:network",
        "timm": "prunectl.models.timm:network",
        "transformers": "prunectl.models.transformers:network",
    },
}
"""Libraries of plug-ins with names such as `library/name`; each takes a name and returns the plug-in."""
HUBS = ("timm/hf-hub:", "timm/local-dir:")
"""timm's names for a network in a repository of the Hugging Face hub, and in a folder: data, no code."""
PRESETS = {
    "quick": ("fgsm", "pgd"),
    "standard": ("deepfool", "apgd-ce", "apgd-dlr", "apgd-t", "square"),
}
"""Cascades of attacks: each attacks only the images that earlier ones left correct."""


def names(kind: str) -> list[str]:
    """All names of a kind: the built-in ones, then those that installed packages add."""
    return [*TABLES[kind], *(point.name for point in _entry_points(f"prunectl.{kind}"))]


def resolve(kind: str, spec: str) -> Any:
    """The plug-in that `spec` names.

    `spec` is a built-in name, else `path/to/file.py:name` or `package.module:name`, else `library/name` of a known
    library, else the name of an entry point in the group `prunectl.<kind>`.

    Raises:
        UnknownName: no plug-in has that name; the message suggests the nearest one.
    """
    if not isinstance(spec, str):
        raise UnknownName(
            f"a {kind} is named by a text, such as 'file.py:name' for your own, got a {type(spec).__name__}"
        )
    if spec in TABLES[kind]:
        return _attribute(kind, TABLES[kind][spec])
    if spec.startswith(HUBS):
        raise UnknownName(f"{spec} is a network with weights; pass `pretrained` too")
    if ":" in spec:
        if kind == "criterion" and spec.replace(":", "", 1).isdecimal():
            raise UnknownName(f"no criterion named '{spec}'; use criterion n:m with `scope` {spec}")
        return _attribute(kind, placed(spec))
    if library := _library(kind, spec):
        return _attribute(kind, library)(spec.partition("/")[2])
    for point in _entry_points(f"prunectl.{kind}"):
        if point.name == spec:
            return point.load()
    raise _unknown_plugin(kind, spec)


def _unknown_plugin(kind: str, spec: str) -> UnknownName:
    """The error for an unknown plug-in, with near names, also of libraries, or the functions of a file."""
    if spec.endswith(".py"):
        return UnknownName(f"{NOUNS.get(kind, kind)} {without_function(spec)}")
    if kind == "data" and Path(spec).is_dir():
        return UnknownName(f"no dataset named '{spec}'; for a folder of images, use imagefolder:{spec}")
    libraries = [library_names(library) for library in READABLE] if kind in LIBRARIES else []
    presets = PRESETS if kind == "attack" else ()
    return unknown(NOUNS.get(kind, kind), spec, [*names(kind), *presets], libraries)


def _entry_points(group: str) -> "Iterable[EntryPoint]":
    """The entry points of installed packages."""
    from importlib.metadata import entry_points  # importing it takes a while

    return entry_points(group=group)


def check(kind: str, spec: str) -> None:
    """Refuse an unknown name without importing the plug-in of a known one; a library's names are not checked.

    Raises:
        UnknownName: as `resolve`.
    """
    if spec in TABLES[kind]:
        return
    if ":" not in spec and not _library(kind, spec) and spec not in names(kind):
        raise _unknown_plugin(kind, spec)


def check_options(attack: str, options: Mapping[str, str]) -> None:
    """Refuse options of the preset `standard`, whose results must be comparable everywhere.

    Raises:
        OptionError: there are options.
    """
    if attack == "standard" and options:
        raise OptionError(
            f"standard has no options, so that its results are comparable, got {', '.join(options)}; use quick, or "
            f"name its attacks: {','.join(PRESETS[attack])}"
        )


def names_code(kind: str, spec: str) -> bool:
    """Whether a spec is `file.py:name` or `package.module:name`, not a built-in name or NAME:PATH of a dataset."""
    if ":" not in spec or spec in TABLES[kind] or spec.startswith(HUBS):
        return False
    return kind != "data" or spec.partition(":")[0] not in names(kind)


def check_trusted(kind: str, spec: str, where: str) -> None:
    """Refuse to run code that a file names, not the user: all but built-in names and installed entry points.

    Raises:
        UntrustedCode: `spec` names code that the user has not named, without consent by --trust or
            PRUNECTL_TRUST=1.
    """
    if not names_code(kind, spec):
        return
    code = placed(spec)
    if not is_trusted(code):
        found = f", found at {code.rpartition(':')[0]}" if code != spec else ""
        raise UntrustedCode(
            f"{where} names {kind} '{spec}', whose code would run{found}; if you trust it, pass `trust`, or set "
            "PRUNECTL_TRUST=1"
        )


def _library(kind: str, spec: str) -> str | None:
    """The address of the library of a `library/name`, None for any other spec."""
    library, slash, _ = spec.partition("/")
    return LIBRARIES.get(kind, {}).get(library) if slash else None


def _attribute(kind: str, address: str) -> Any:
    """Import `module:attribute`, where the module may be a file ending in `.py`."""
    place, _, attribute = address.rpartition(":")
    try:
        if not place or (place.startswith(".") and not place.endswith(".py")):
            raise ImportError(f"no module named '{place}'")
        module = import_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        return getattr(module, attribute)
    except (ImportError, AttributeError, OSError) as error:
        if place.endswith(".py") and isinstance(error, AttributeError):
            raise UnknownName(f"no {NOUNS.get(kind, kind)} {without_function(place, attribute)}") from error
        raise UnknownName(
            f"no {NOUNS.get(kind, kind)} at '{address}' ({error}); expected {forms(kind, TABLES[kind])}"
        ) from error
