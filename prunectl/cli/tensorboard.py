"""Logs a training to TensorBoard while it runs."""

import importlib.util
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunectl.checkpoints.names import beside
from prunectl.cli import output
from prunectl.errors import FileError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

    from prunectl.training.trainer import Trainer

FOLDER = ".tensorboard"
_IMAGES = 8
_FLUSH_S = 5


def check_installed() -> None:
    """Refuse --tensorboard if TensorBoard is not installed.

    Raises:
        OptionError: TensorBoard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise OptionError("--tensorboard needs TensorBoard: pip install 'prunectl[tensorboard]'")


def folder(asked: bool, place: Path | None, path: Path) -> Path | None:
    """The TensorBoard folder of a training into `path`; None if none was requested.

    Raises:
        FileError: its usual name is a link.
    """
    usual = beside(path, FOLDER)
    if place is None and asked and usual.is_symlink():
        raise FileError(f"cannot write {usual}: it is a link; move it away, or use --tensorboard-dir")
    return place or (usual if asked else None)


class Board:
    """Writes events of a training into a folder; from its first step on, earlier events there are invalid."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        """Begin after `step` steps.

        Raises:
            FileError: the folder cannot be written.
        """
        from torch.utils.tensorboard import SummaryWriter

        try:
            self.writer = SummaryWriter(str(folder), purge_step=step + 1, flush_secs=_FLUSH_S)
        except OSError as error:
            raise FileError(
                f"cannot write {folder}: {error.strerror or error}; use another --tensorboard-dir"
            ) from error
        self.folder, self.failed = folder, False
        self.examples: tuple[Tensor, Tensor] | None = None

    def show(self, trainer: "Trainer", record: dict[str, Any]) -> None:
        """Write a log record; at the end of an epoch also weights, confusions and saliency.

        If that fails (a full disk, in a thread of the writer), logging ends and the training continues.
        """
        if self.failed:
            return
        try:
            self._show(trainer, record)
        except OSError as error:
            output.warn(f"cannot write {self.folder}: {error.strerror or error}; logging to TensorBoard ends here")
            self.failed = True

    def _show(self, trainer: "Trainer", record: dict[str, Any]) -> None:
        step = record["step"]
        for key, value in record.items():
            if isinstance(value, int | float) and key != "step":
                self._write("scalar", _tag(key), value, step)
        if "pruned" in record or step % trainer.steps_per_epoch == 0:
            self._show_network(trainer, step)

    def close(self) -> None:
        """Write the remaining events."""
        with suppress(OSError):
            self.writer.close()

    def _show_network(self, trainer: "Trainer", step: int) -> None:
        from prunectl.masks import prunable
        from prunectl.measuring.pictures import confusion_picture, saliency_picture

        now = trainer.result()
        for name, weight in prunable(now.model).items():
            kept = weight.detach()[now.masks[name]] if name in now.masks else weight.detach().flatten()
            if len(kept):
                self._write("histogram", f"weights/{name}", kept.float().cpu(), step)
        if trainer.evaluated is not None:
            self._write("image", "confusion", confusion_picture(trainer.evaluated.confusion), step)
        pixels, labels = self._examples(trainer)
        picture = saliency_picture(now.model, pixels, labels, now.preprocessing)
        self._write("image", "saliency", picture, step)

    def _examples(self, trainer: "Trainer") -> "tuple[Tensor, Tensor]":
        """A few test images, spread over the set."""
        import torch

        if self.examples is None:
            source = trainer.data.test if len(trainer.data.test) else trainer.data.train
            index = torch.linspace(0, len(source) - 1, min(_IMAGES, len(source))).long()
            chosen = source.take(index)
            pixels, labels = next(chosen.batches(len(chosen)))
            self.examples = pixels.to(trainer.device), labels.to(trainer.device)
        return self.examples

    def _write(self, kind: str, tag: str, value: Any, step: int) -> None:
        getattr(self.writer, f"add_{kind}")(tag, value, step)


def _tag(key: str) -> str:
    """The tag of a log value in TensorBoard: values on evaluation images have a separate group."""
    return f"evaluation/{key.removeprefix('eval_')}" if key.startswith("eval_") else f"training/{key}"
