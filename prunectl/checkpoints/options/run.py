"""The command line of an interrupted training, as stored in its resume file."""

from dataclasses import dataclass, field

from prunectl.checkpoints.options.data import DataOptions


@dataclass(frozen=True)
class Run:
    """Images, paths and device of a training. `written` is the sha256 of the checkpoint that --max-minutes left.

    `teacher` is the former path of the teacher's checkpoint; its hash finds it elsewhere. Resume files of earlier
    versions lack the hash.
    """

    data: str
    output: str
    data_options: DataOptions = field(default_factory=DataOptions)
    data_dir: str | None = None
    teacher: str | None = None
    teacher_sha256: str | None = None
    device: str = "auto"
    tensorboard: bool = False
    tensorboard_dir: str | None = None
    written: str | None = None
