"""The finished part of an attack, saved beside its checkpoint for --resume."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunectl.checkpoints.journal import Journal
from prunectl.checkpoints.names import beside
from prunectl.checkpoints.texts import parsed
from prunectl.cli import output
from prunectl.errors import FileError, OptionError

if TYPE_CHECKING:
    from prunectl.robustness.attack import Attacker
    from prunectl.robustness.tally import Tally

_SUFFIX = ".attack.part.jsonl"


class Part:
    """The batches that are `done`, written to a file one by one; a full disk delays the file but not the attack."""

    def __init__(self, journal: Journal, attacker: "Attacker") -> None:
        self.journal, self.attacker = journal, attacker
        self.done: list[Tally] = []
        self.is_kept = True
        self._examples = 0

    def take_up_(self) -> None:
        """Read the batches of an interrupted attack; those from the first damaged line (of a kill) on are repeated."""
        for line in self.journal.lines[1:]:
            try:
                self._read_(parsed(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                break
        self._examples = len(self.attacker.examples.parts)
        self._write(lambda: self.journal.keep(1 + len(self.done)))

    def begin(self, identity: dict[str, Any]) -> None:
        """Begin the file of a new attack."""
        self._write(lambda: self.journal.begin([json.dumps({"run": identity}).encode() + b"\n"]))

    def keep(self, batch: "Tally") -> None:
        """Add a batch with its examples."""
        parts = self.attacker.examples.parts
        fresh = [self.attacker.examples.text(part) for part in parts[self._examples :]]
        self._examples = len(parts)
        record = {"batch": batch.plain(), **({"examples": fresh[0]} if fresh else {})}
        self._write(lambda: self.journal.add(record))

    def _write(self, change: Callable[[], None]) -> None:
        """Change the file; if that fails, warn once."""
        try:
            change()
            self.is_kept = True
        except FileError as error:
            if self.is_kept:
                output.warn(f"{error}; the attack continues, and is saved once there is room")
            self.is_kept = False

    def finish(self) -> None:
        """Remove the file, whose content is now recorded elsewhere."""
        self.journal.lines.clear()

    def _read_(self, record: dict[str, Any]) -> None:
        """Read one line.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: it is not a line of this attack.
        """
        from prunectl.robustness.tally import Tally

        attacker = self.attacker
        tally = Tally.read(record["batch"])
        if (len(tally.robust), list(tally.methods)) != (len(attacker.levels), [m.name for m in attacker.methods]):
            raise ValueError("it is of another attack")
        if (tally.agree is None) != (attacker.reference is None):
            raise ValueError("it is of an attack with another reference")
        if "examples" in record:
            attacker.examples.take_up_(record["examples"], attacker.data.shape, len(attacker.data.classes))
        self.done.append(tally)


def has_part(path: Path) -> bool:
    """Whether an attack of the checkpoint at `path` was interrupted."""
    return beside(path, _SUFFIX).exists()


@contextmanager
def begun(attacker: "Attacker", path: Path, *, resume: bool, force: bool) -> Iterator[Part]:
    """A new attack of the checkpoint at `path`, or the interrupted one with its finished batches.

    Raises:
        FileError: there is none to resume, or another process attacks the same checkpoint.
        OptionError: there is one, but neither --resume nor --force; or it began with other options.
    """
    place = beside(path, _SUFFIX)
    if resume and not place.exists():
        raise FileError(f"no interrupted attack at {place}; leave out --resume")
    journal = Journal(place, f"another attack of {path} is running; wait for it")
    try:
        part, identity = Part(journal, attacker), json.loads(json.dumps(_identity(attacker)))
        differs = _difference(journal, identity)
        if journal.lines and not force and not resume:
            how = "replace it with --force" if differs else "continue with --resume, or replace it with --force"
            raise OptionError(f"{place} holds an interrupted attack{differs}; {how}")
        if resume and differs:
            raise OptionError(
                f"--resume cannot continue the interrupted attack{differs}; start again: --force without --resume"
            )
        if resume and journal.lines:
            part.take_up_()
        else:
            part.begin(identity)
        yield part
    finally:
        journal.close()


def _difference(journal: Journal, identity: dict[str, Any]) -> str:
    """A text on how an interrupted attack differs from this one; empty if it does not."""
    if not journal.lines:  # killed before the first batch
        return ""
    try:
        before = {"examples": 0, "amp": False, **parsed(journal.lines[0])["run"]}
    except (ValueError, KeyError, TypeError):
        return " that is damaged"
    changed = (key for key, value in identity.items() if before.get(key) != value)
    return next((f": {key} was {before.get(key)}, is {identity[key]}" for key in changed), "")


def _identity(attacker: "Attacker") -> dict[str, Any]:
    """The values that must be the same to continue an attack."""
    others = {"reference": attacker.reference, "source": attacker.source}
    return {
        "checkpoint": attacker.checkpoint.sha256,
        "attack": attacker.name,
        "attacks": [method.name for method in attacker.methods],
        "options": attacker.options,
        "norm": attacker.methods[0].norm,
        "eps": attacker.levels,
        "target": attacker.target,
        "images": len(attacker.images),
        "data": attacker.data.described,
        "batch_size": attacker.batch_size,
        "amp": attacker.amp,
        "seed": attacker.seed,
        "examples": attacker.examples.wanted,
        **{key: None if network is None else network.sha256 for key, network in others.items()},
    }
