"""Attacks by name: foolbox's and prunectl's own, under the norm that bounds them."""

import functools
import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prunectl.errors import OptionError
from prunectl.plugins.options import shared_options
from prunectl.plugins.registry import PRESETS, TABLES, names, resolve, unknown
from prunectl.robustness.descent import shortened

_PRESET_NORMS = {"quick": ("linf", "l2", "l1"), "standard": ("linf", "l2")}
_PRESET_OPTIONS = {"quick": {"steps": "20"}}
"""Options of a preset's attacks that are not their own defaults."""
NORMS = ("linf", "l2", "l1", "l0")
_CLASSES = {"apgd-dlr": 3, "l2-apgd-dlr": 3, "apgd-t": 4, "l2-apgd-t": 4}
"""The least number of classes for the losses of some attacks; with fewer, a preset leaves them out."""
_AIMLESS = ("fgsm", "l2-fgsm", "l1-fgsm", "l1-fgm", "deepfool", "linf-deepfool")
"""Attacks without a targeted form."""
_LEAST = {
    **dict.fromkeys(("steps", "queries", "repeats", "binary_search_steps", "restarts"), 1),
    **dict.fromkeys(("stepsize", "rel_stepsize", "abs_stepsize", "overshoot"), 0),
}
"""The least values of numeric options."""
_EPS = {
    "linf": ((0.02, 0.05, 0.1, 0.2, 0.3), (1 / 255, 2 / 255, 4 / 255, 8 / 255)),
    "l2": ((0.25, 0.5, 1.0, 1.5, 2.0), (0.1, 0.25, 0.5, 1.0)),
    "l1": ((2.5, 5.0, 10.0, 20.0), (3.0, 6.0, 12.0, 24.0)),
    "l0": ((5.0, 10.0, 20.0, 40.0), (10.0, 20.0, 40.0, 80.0)),
}
"""Default eps for grey and coloured images, including the field's usual ones: 0.3 and 8/255, L2 2 and 0.5, L1 12."""


@dataclass(frozen=True)
class Method:
    """An attack that can be run: `norm` bounds it, `minimal` says that it searches for the nearest adversarial."""

    name: str
    attack: Any
    norm: str
    minimal: bool
    usual_steps: int | None = None
    """Its default number of steps; None for an attack without steps."""

    def __call__(self, network: Any, images: Tensor, criterion: Any, levels: Sequence[float]) -> list[Tensor]:
        """Adversarials (B, C, H, W) for every eps, within the ball and [0, 1]; a minimal attack's last one is not cut.

        Raises:
            OptionError: foolbox's attack fails on this network.
        """
        try:
            found = self._run(network, images, criterion, levels)
        except (AssertionError, NotImplementedError, TypeError, ValueError) as error:
            raise OptionError(f"attack {self.name} does not run here: {error or type(error).__name__}") from error
        # a search that ended in numbers that are not finite has found nothing
        found = [images.where(~one.isfinite().flatten(1).all(1).view(-1, 1, 1, 1), one) for one in found]
        if self.minimal:
            return [*(self._within(images, found[0], eps) for eps in levels), found[0]]
        return [self._within(images, one, eps) for one, eps in zip(found, levels, strict=True)]

    def _run(self, network: Any, images: Tensor, criterion: Any, levels: Sequence[float]) -> list[Tensor]:
        """The attack's results, for every eps or once; foolbox's own call would run the network again each time."""
        from eagerpy.astensor import astensor  # noqa: PLC0415
        from foolbox.attacks.base import FixedEpsilonAttack  # noqa: PLC0415

        short = shortened(self.attack)
        if short is not None:
            return [short(network, images, criterion, eps) for eps in levels]
        inputs = astensor(images)
        if self.minimal:
            return [astensor(self.attack.run(network, inputs, criterion)).raw]
        if not isinstance(self.attack, FixedEpsilonAttack):  # such as attacks that are repeated
            found, _, _ = self.attack(network, images, criterion, epsilons=list(levels))
            return list(found)
        return [astensor(self.attack.run(network, inputs, criterion, epsilon=eps)).raw for eps in levels]

    def norms(self, images: Tensor, others: Tensor) -> Tensor:
        """Distances (B,) in the norm of this attack."""
        change = (others - images).flatten(1)
        if self.norm == "l0":
            return (change != 0).sum(1).to(change.dtype)
        sizes: Tensor = torch.linalg.vector_norm(change, {"linf": math.inf, "l2": 2, "l1": 1}[self.norm], dim=1)
        return sizes

    def _within(self, images: Tensor, found: Tensor, eps: float) -> Tensor:
        """The adversarials, pulled into the ball; under L0, the image itself replaces one outside."""
        if self.norm == "linf":
            return (images + (found - images).clamp(-eps, eps)).clamp(0, 1)
        sizes = self.norms(images, found)
        inside = (sizes <= eps).to(found.dtype) if self.norm == "l0" else (eps / sizes.clamp(min=1e-12)).clamp(max=1)
        return (images + (found - images) * inside.view(-1, 1, 1, 1)).clamp(0, 1)


def methods(
    chosen: Sequence[str], norm: str | None, options: Mapping[str, str], *, classes: int, targeted: bool = False
) -> list[Method]:
    """The attacks with these names or of one preset; options go to the attacks that have them.

    Raises:
        UnknownName, OptionError: unknown attack, norm or option, attacks with several norms, or too few classes.
    """
    if norm is not None and norm not in NORMS:
        raise unknown("norm", norm, NORMS)
    if len(chosen) == 1 and chosen[0] in PRESETS:
        wanted = _of_preset(chosen[0], norm or "linf", classes, targeted=targeted)
        options = {**_PRESET_OPTIONS.get(chosen[0], {}), **options}
    else:
        wanted = [_under(name, norm) for name in chosen]
        _check_named(wanted, classes, targeted=targeted)
    makers = [maker(name) for name in wanted]
    keywords = shared_options(makers, dict(options), f"attack {', '.join(wanted)}")
    made = [_built(name, make, keys, norm or "l2") for name, make, keys in zip(wanted, makers, keywords, strict=True)]
    _check_norms(made, norm)
    return made


def _of_preset(preset: str, norm: str, classes: int, *, targeted: bool) -> list[str]:
    """The attacks of a preset that exist for the norm, this number of classes, and a target."""
    if norm not in _PRESET_NORMS[preset]:
        raise OptionError(f"{preset} is for {', '.join(_PRESET_NORMS[preset])}; for {norm}, name attacks such as fmn")
    left_out = {*_AIMLESS, "apgd-t", "l2-apgd-t"} if targeted else set()  # apgd-dlr aims at the one target
    wanted = [_under(name, norm) for name in PRESETS[preset]]
    return [name for name in wanted if classes >= _CLASSES.get(name, 2) and name not in left_out]


def _check_named(wanted: Sequence[str], classes: int, *, targeted: bool) -> None:
    """Refuse attacks named twice, or that the network or the target does not allow."""
    if len({TABLES["attack"].get(name, name) for name in wanted}) < len(wanted):
        raise OptionError(f"an attack is named twice: {', '.join(wanted)}")
    for name in wanted:
        least = _CLASSES.get(name, 2)
        if classes < least:
            raise OptionError(f"attack {name} needs at least {least} classes, the network has {classes}")
        if targeted and name in _AIMLESS:
            raise OptionError(f"attack {name} has no targeted form; use pgd or apgd-ce")


def levels(eps: Sequence[float] | None, norm: str, shape: tuple[int, int, int]) -> list[float]:
    """The eps in increasing order, by default those of the norm and the kind of image.

    Raises:
        OptionError: there is none, or one is not above 0 and at most the largest distance between two images.
    """
    if eps is None:
        return list(_EPS[norm][shape[0] > 1])
    most, given = largest(norm, shape), ", ".join(f"{e:g}" for e in eps) or "none"
    if norm == "l0" and not all(e >= 1 and float(e).is_integer() for e in eps):
        raise OptionError(f"eps of l0 attacks must be whole numbers of changed channel values, got {given}")
    if not eps or not all(0 < e <= most for e in eps):
        hint = "; pixels are in [0, 1], use 8/255 for 8 grey levels" if norm == "linf" and eps and max(eps) > 1 else ""
        raise OptionError(
            f"eps of {norm} attacks must be above 0 and at most {most:g} for these images, got {given}{hint}"
        )
    return sorted(set(eps))


def largest(norm: str, shape: Sequence[int]) -> float:
    """The distance between the two images (C, H, W) that are farthest apart."""
    count = math.prod(shape)
    return {"linf": 1.0, "l2": math.sqrt(count), "l1": float(count), "l0": float(count)}[norm]


def _under(name: str, norm: str | None) -> str:
    """The variant of an attack for a norm, if there is one."""
    own = f"{norm}-{name}"
    return own if own in TABLES["attack"] else name


def maker(name: str) -> Callable[..., Any]:
    """The function that makes an attack: the plug-in of that name, else foolbox's class.

    Raises:
        UnknownName, OptionError: there is none, or it is a preset.
    """
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # foolbox imports GitPython, which complains without git
    if name in PRESETS:
        raise OptionError(f"{name} is a cascade of several attacks; use it alone")
    if name in names("attack") or ":" in name:
        return _keyword_only(resolve("attack", name))
    import foolbox.attacks  # noqa: PLC0415

    theirs = {
        k: made for k, made in vars(foolbox.attacks).items() if inspect.isclass(made) and not inspect.isabstract(made)
    }
    if name not in theirs:
        raise unknown("attack", name, [*names("attack"), *PRESETS, *theirs])
    return _keyword_only(theirs[name])


def norm_of_class(name: str) -> str:
    """The norm that bounds a class of foolbox.attacks; "any" if `norm` chooses it."""
    from foolbox import distances  # noqa: PLC0415

    own = getattr(maker(name).func, "distance", None)  # type: ignore[attr-defined]
    return next((norm for norm in NORMS if getattr(distances, norm) is own), "any")


def _keyword_only(make: Any) -> Callable[..., Any]:
    """The same with keyword arguments only, like options; the distance comes from the norm."""
    signature = inspect.signature(make)
    made = functools.partial(make)
    parameters = [
        p.replace(kind=p.KEYWORD_ONLY, default=None if p.default is p.empty else p.default)
        if p.kind is p.POSITIONAL_OR_KEYWORD
        else p
        for p in signature.parameters.values()
        if p.name != "distance"
    ]
    made.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return made


def _built(name: str, make: Any, keywords: dict[str, Any], norm: str) -> Method:
    """Make an attack, and determine the norm that bounds it."""
    from foolbox import distances  # noqa: PLC0415
    from foolbox.attacks.base import MinimizationAttack  # noqa: PLC0415

    for key, least in _LEAST.items():
        given = keywords.get(key)
        if given is not None and given < least:
            raise OptionError(f"option '{key}' of attack {name} must be {least} or more, got {given}")
    own = {getattr(distances, n): n for n in NORMS}
    if "distance" in inspect.signature(make.func).parameters:
        keywords = {**keywords, "distance": getattr(distances, norm)}
    try:
        attack = make(**keywords)
    except ImportError as error:
        raise OptionError(f"attack {name} needs {error.name}; install it: pip install {error.name}") from error
    except (TypeError, ValueError) as error:
        raise OptionError(f"attack {name} does not take these options: {error}") from error
    try:
        distance = attack.distance
    except (AttributeError, ValueError):
        raise OptionError(f"attack {name} is not bounded by a norm, so eps has no meaning for it") from None
    usual = inspect.signature(make).parameters.get("steps")
    return Method(
        name, attack, own[distance], isinstance(attack, MinimizationAttack), None if usual is None else usual.default
    )


def _check_norms(made: Sequence[Method], norm: str | None) -> None:
    """Refuse attacks with several norms, so that eps has one meaning."""
    listed = ", ".join(f"{method.name} ({method.norm})" for method in made)
    if norm is not None and any(method.norm != norm for method in made):
        raise OptionError(f"no attack of that name has `norm` {norm}: got {listed}")
    if len({method.norm for method in made}) > 1:
        raise OptionError(f"attacks of one run must share a norm, got {listed}; run them one after the other")
