"""The options of a repair."""

from dataclasses import dataclass

from prunectl.errors import OptionError
from prunectl.plugins.registry import unknown

METHODS = ("refit", "scale", "bn")
CALIBRATIONS = ("data", "noise")


@dataclass(frozen=True)
class RepairOptions:
    """`method` is refit, scale or bn; `n` images are looked at, of the `calibration`: data or noise.

    Raises:
        OptionError: a value that cannot work.
    """

    method: str = "refit"
    n: int = 1024
    calibration: str = "data"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown("repair", self.method, METHODS)
        if self.calibration not in CALIBRATIONS:
            raise unknown("calibration", self.calibration, CALIBRATIONS)
        if self.n < 10:
            raise OptionError(f"`n` is 10 images or more, got {self.n}")
        if (self.method, self.calibration) == ("bn", "noise"):
            raise OptionError("statistics of noise are not those of images; take `method` refit, or calibrate on data")
