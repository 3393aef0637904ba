"""What can go wrong, as one drawn tree; the command line turns each into one line and an exit code.

PrunectlError
├── UnknownName        a name that no table knows
├── UntrustedCode      code that a file names, and not the user
├── OptionError        a value or option that cannot work
│   ├── TooLarge          ... because it asks for too much
│   ├── OutOfReach        ... because the smallest network is slower
│   ├── NoNormalisation   ... because nothing says how pixels become the network's input
│   └── BuilderFailed     ... because the code that builds a network raised an error
├── DivergedError      a training whose loss is not finite
├── FileError          a file that cannot be read or written
│   ├── NotWritten        ... an output, whose content is kept elsewhere if it can be
│   └── CheckpointError   ... that is no checkpoint of ours, or a damaged one
├── DataError          a dataset that is missing, unreadable or does not fit the network
├── DeviceError        a device asked for and absent
├── StructureError     a network whose structure cannot be followed
├── NotTheSame         a history that led to something else when it was run again
├── StagesFailed       stages of a sweep that failed; the others are done
├── ProofError         a shrunk network that does not equal the masked one
├── Interrupted        Ctrl-C; what was done is on disk
├── LostProcess        another process of the same run has ended
└── ThresholdMissed    a measured value that misses the one asked for
"""

from pathlib import Path

LOST_WORKER = "a process that decodes images was ended by the system, as when memory runs out"


class PrunectlError(Exception):
    """A failure that the user can act on: what was expected, what was found, what to do next, in one line."""

    exit_code = 1


class UnknownName(PrunectlError):
    """A name that no table knows; the message offers the nearest match."""


class UntrustedCode(PrunectlError):
    """Code that a file names, and not the user; it is run on consent only."""


class OptionError(PrunectlError):
    """A value or an option that cannot work."""


class TooLarge(OptionError):
    """The request takes more memory or time than any real use."""


class OutOfReach(OptionError):
    """A latency that the smallest network does not reach, whatever the criterion."""


class NoNormalisation(OptionError):
    """Pixels for a network whose images were normalised before prunectl got them; nothing says how."""


class BuilderFailed(OptionError):
    """The code that builds a network raised something."""


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
    """A device that was asked for and is absent."""


class StructureError(PrunectlError):
    """A network whose structure cannot be followed."""


class ProofError(PrunectlError):
    """A shrunk network that does not compute what the masked one computes."""


class NotTheSame(PrunectlError):
    """A history that led to something else when it was run again."""


class StagesFailed(PrunectlError):
    """Stages of a sweep that failed; the others are done."""


class Interrupted(PrunectlError):
    """Ctrl-C; what was done is on disk."""

    exit_code = 130


class LostProcess(PrunectlError):
    """Another process of the same run has ended."""


class ThresholdMissed(PrunectlError):
    """A measured value that misses the one asked for; what was made is written."""

    exit_code = 3


def first_line(error: BaseException) -> str:
    """What an error says, in one line of at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
