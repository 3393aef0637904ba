"""The tree of errors; the command line turns each into one line and an exit code.

PrunectlError
├── UnknownName        a name that no table knows
├── UntrustedCode      code that a file names, not the user
├── OptionError        a value or option that cannot work
│   ├── TooLarge          ... because it asks for too much
│   ├── OutOfReach        ... because the smallest network is slower
│   ├── NoNormalisation   ... because how pixels become the network's input is unknown
│   └── BuilderFailed     ... because the code that builds a network raised an error
├── DivergedError      a training whose loss is not finite
├── FileError          a file that cannot be read or written
│   ├── NotWritten        ... an output, whose content is kept elsewhere if possible
│   └── CheckpointError   ... that is not a prunectl checkpoint, or a damaged one
├── DataError          a dataset that is missing, unreadable or does not fit the network
├── DeviceError        a requested device that is absent
├── StructureError     a network whose structure cannot be traced
├── NotTheSame         a history that gave a different result when run again
├── StagesFailed       stages of a sweep that failed; the others are done
├── ProofError         a shrunk network that does not equal the masked one
├── Interrupted        Ctrl-C; finished work is on disk
├── LostProcess        another process of the same run has ended
└── ThresholdMissed    a measured value that misses the requested one
"""

from pathlib import Path

_SHOWN = 200
LOST_WORKER = "the system ended a process that decodes images, perhaps because memory ran out"


class PrunectlError(Exception):
    """A failure that the user can act on: what was expected, what was found, what to do next, in one line."""

    exit_code = 1


class UnknownName(PrunectlError):
    """A name that no table knows; the message offers the nearest match."""


class UntrustedCode(PrunectlError):
    """Code that a file names, not the user; it runs only with consent."""


class OptionError(PrunectlError):
    """A value or an option that cannot work."""


class TooLarge(OptionError):
    """The request takes more memory or time than any real use."""


class OutOfReach(OptionError):
    """A latency that the smallest network does not reach, whatever the criterion."""


class NoNormalisation(OptionError):
    """Pixels for a network whose images were normalised before prunectl got them, in an unknown way."""


class BuilderFailed(OptionError):
    """The code that builds a network raised an error."""


class DivergedError(PrunectlError):
    """A training whose loss is no longer finite."""


class FileError(PrunectlError):
    """A file that cannot be read or written."""


class NotWritten(FileError):
    """An output could not be written. `kept` is the file that has its content, or None if no folder had room."""

    exit_code = 4

    def __init__(self, text: str, kept: Path | None) -> None:
        super().__init__(text)
        self.kept = kept


class CheckpointError(FileError):
    """A file that is not a prunectl checkpoint, or a damaged one."""


class DataError(PrunectlError):
    """A dataset that is missing, unreadable, or that does not fit the network."""


class DeviceError(PrunectlError):
    """A requested device that is absent."""


class StructureError(PrunectlError):
    """A network whose structure cannot be traced."""


class ProofError(PrunectlError):
    """A shrunk network that does not compute what the masked one computes."""


class NotTheSame(PrunectlError):
    """A history that gave a different result when run again."""


class StagesFailed(PrunectlError):
    """Stages of a sweep that failed; the others are done."""


class Interrupted(PrunectlError):
    """Ctrl-C; finished work is on disk."""

    exit_code = 130


class LostProcess(PrunectlError):
    """Another process of the same run has ended."""


class ThresholdMissed(PrunectlError):
    """A measured value that misses the requested one; the output is written."""

    exit_code = 3


def first_line(error: BaseException) -> str:
    """The message of an error, in one line of at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def cut(name: str) -> str:
    """A name as a message shows it: the first 200 characters of a longer one, and its length."""
    return name if len(name) <= _SHOWN else f"{name[:_SHOWN]}... ({len(name):,} characters)"


class ChangedCode(UserWarning):
    """The user's file that builds a network has changed since the network was written."""
