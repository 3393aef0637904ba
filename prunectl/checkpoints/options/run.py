"""The command line of an interrupted training, as its resume file holds it."""

from dataclasses import dataclass, field

from prunectl.checkpoints.options.data import DataOptions


@dataclass(frozen=True)
class Run:
    """Images, places and device of a training. `written` is the sha256 of the checkpoint that --max-minutes left.

    `teacher` is the path that the teacher's checkpoint had; its hash finds it elsewhere; resume files of earlier
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
