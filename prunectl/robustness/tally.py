"""Counts of an attack, batch by batch: plain numbers that can be added and stored."""

import functools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from prunectl.checkpoints.options.checks import every, expect, is_count, is_number, optional

_COUNT = expect("a whole number", is_count)
_COUNTS = expect("a list of whole numbers", every(is_count))
_NORMS = expect("a list of numbers", every(optional(is_number)))
_SECONDS = expect("a number", is_number)


@dataclass
class MethodTally:
    """One attack: how many images it was tried on, left correctly classified, and turned, at every eps."""

    tried: list[int]
    robust: list[int]
    turned: list[int]
    norms: list[float] = field(default_factory=list)
    """For a minimal attack: the norm of the adversarial of every tried image, infinite if there is none."""
    seconds: float = 0.0


@dataclass
class Tally:
    """Counts of images under all attacks: those correct without an attack, and in the worst case at every eps."""

    images: int
    clean: int
    robust: list[int]
    turned: list[int]
    attacked: int
    """Attacked images: correctly classified, and not of the target class."""
    agree: list[int] | None
    """Worst cases that the reference classifies like the network; None without a reference."""
    clean_agree: int | None
    methods: dict[str, MethodTally]
    seconds: float = 0.0

    def plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @staticmethod
    def read(plain: dict[str, Any]) -> "Tally":
        """Read the values of `plain`, where an infinite norm is null.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is not a tally.
        """
        counts = {key: plain[key] for key in ("images", "clean", "attacked")}
        tables = {key: plain[key] for key in ("robust", "turned")}
        if plain["agree"] is not None or plain["clean_agree"] is not None:
            tables["agree"], counts["clean_agree"] = plain["agree"], plain["clean_agree"]
        for name, one in plain["methods"].items():
            tables |= {f"{name}.{key}": one[key] for key in ("tried", "robust", "turned")}
            _NORMS(f"{name}.norms", one["norms"])
            _SECONDS(f"{name}.seconds", one["seconds"])
        for name, value in counts.items():
            _COUNT(name, value)
        for name, value in tables.items():
            _COUNTS(name, value)
        _SECONDS("seconds", plain["seconds"])
        if len({len(value) for value in tables.values()}) != 1:
            raise ValueError("the number of eps differs")
        if max(*counts.values(), *(count for value in tables.values() for count in value)) > plain["images"]:
            raise ValueError("a count is larger than the number of images")
        methods = {
            name: MethodTally(**{**one, "norms": [float("inf") if n is None else n for n in one["norms"]]})
            for name, one in plain["methods"].items()
        }
        return Tally(**{**plain, "methods": methods})

    @staticmethod
    def sum(parts: Iterable["Tally"]) -> "Tally":
        """The sum of all parts; there must be at least one."""
        return functools.reduce(Tally.plus, parts)

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(
            images=self.images + other.images,
            clean=self.clean + other.clean,
            robust=_added(self.robust, other.robust),
            turned=_added(self.turned, other.turned),
            attacked=self.attacked + other.attacked,
            agree=None if self.agree is None or other.agree is None else _added(self.agree, other.agree),
            clean_agree=None
            if self.clean_agree is None or other.clean_agree is None
            else self.clean_agree + other.clean_agree,
            methods={
                name: MethodTally(
                    tried=_added(one.tried, other.methods[name].tried),
                    robust=_added(one.robust, other.methods[name].robust),
                    turned=_added(one.turned, other.methods[name].turned),
                    norms=one.norms + other.methods[name].norms,
                    seconds=one.seconds + other.methods[name].seconds,
                )
                for name, one in self.methods.items()
            },
            seconds=self.seconds + other.seconds,
        )

    def results(self, levels: Sequence[float]) -> list[dict[str, Any]]:
        """The record's results for every eps: shares of all images, and success among the attacked ones."""
        return [
            {
                "eps": eps,
                "robust_accuracy": self.robust[e] / self.images,
                "success": self.turned[e] / self.attacked if self.attacked else None,
                **({} if self.agree is None else {"agreement": self.agree[e] / self.images}),
                "attacks": {name: self._of(one, e) for name, one in self.methods.items()},
            }
            for e, eps in enumerate(levels)
        ]

    def medians(self) -> dict[str, float]:
        """The median norm of every minimal attack's nearest adversarials, infinite if most images have none."""
        return {name: statistics.median(one.norms) for name, one in self.methods.items() if one.norms}

    def _of(self, one: MethodTally, e: int) -> dict[str, Any]:
        """The results of one attack at one eps."""
        success = one.turned[e] / one.tried[e] if one.tried[e] else None
        return {"robust_accuracy": one.robust[e] / self.images, "tried": one.tried[e], "success": success}


def _added(one: list[int], other: list[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]
