"""The options of a repair."""

from dataclasses import dataclass

from prunectl.checkpoints.options.option import option
from prunectl.errors import OptionError
from prunectl.plugins.registry import unknown

METHODS = ("refit", "scale", "bn")
LEAST_IMAGES = 10
CALIBRATIONS = ("data", "noise")


@dataclass(frozen=True)
class RepairOptions:
    """`method` is refit, scale or bn; `n` is the number of images, `calibration` their source: data or noise.

    `amp` runs the networks in bfloat16 where that is safe; fitted tensors keep their own type.

    Raises:
        OptionError: a value that cannot work.
    """

    method: str = "refit"
    n: int = 1024
    calibration: str = "data"
    amp: bool = option(False, sparse=True)
    seed: int = option(0, shown=False)

    def __post_init__(self) -> None:
        check_method(self.method)
        if self.calibration not in CALIBRATIONS:
            raise unknown("calibration", self.calibration, CALIBRATIONS)
        if self.n < LEAST_IMAGES:
            raise OptionError(f"`n` must be {LEAST_IMAGES} images or more, got {self.n}")
        if (self.method, self.calibration) == ("bn", "noise"):
            raise OptionError("`method` bn needs images, not noise; use `method` refit, or `calibration` data")


@dataclass(frozen=True)
class RepairRun:
    """What a history records of a repair besides its options.

    `reference` is the sha256 of the dense network, if the history does not lead to it.
    """

    device: str = option(shown=False)
    reference: str | None = option(None, sparse=True, file=True)


def check_method(method: str) -> None:
    """Refuse an unknown method.

    Raises:
        UnknownName: lists the known ones.
    """
    if method not in METHODS:
        raise unknown("repair", method, METHODS)
