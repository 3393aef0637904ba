"""prunectl rerun."""

import contextlib
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunectl.cli import options, output
from prunectl.errors import ChangedCode, FileError, Interrupted, NotTheSame, UntrustedCode
from prunectl.plugins.places import known
from prunectl.plugins.trust import consented
from prunectl.torchtools.temporaries import temporary_folder

if TYPE_CHECKING:
    from prunectl.checkpoints.lineage import Step


def command(
    checkpoint: options.CheckpointArgument = None,
    folder: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Keep the files in this new or empty folder."),
    ] = None,
    data_dir: options.DataDir = None,
    download: options.Download = False,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
) -> None:
    """Re-run a checkpoint's history and check that it reproduces bit for bit.

    If it does not, the differences are printed and the exit code is 1. On a GPU, the
    bits can differ from run to run.
    """
    from prunectl.checkpoints.header import read_header
    from prunectl.checkpoints.lineage import check_safe, lineage
    from prunectl.checkpoints.places import places_of
    from prunectl.cli import in_process
    from prunectl.cli.commands.diff import show

    path = options.checkpoint_path(checkpoint)
    steps = lineage(path)
    _check(folder)
    check_safe(steps, in_process.read, str(path))
    _check_fetches(steps, path, download=download)

    from prunectl.checkpoints import rerun
    from prunectl.checkpoints.checkpoint import read
    from prunectl.checkpoints.diff import diff

    places = places_of(read_header(path)[1].metadata, path)
    changed = rerun.version_changes(steps)
    for name, (was, now) in changed.items():
        output.say(f"recorded with {name} {was}, installed is {now}")
    files = rerun.file_changes(places)
    for file in files.values():
        output.say(_file_change(file, path))
    with _folder(folder) as place, warnings.catch_warnings():
        warnings.simplefilter("ignore", ChangedCode)  # it was said above
        with known(places):
            made = rerun.rerun(steps, place, _runner(folder), str(path), data_dir=data_dir, download=download)
        ours, theirs = read(path), read(made)
        identical = ours.sha256 == theirs.sha256
        record = {
            "checkpoints": [str(path), str(made)],
            "identical": identical,
            "changed_versions": changed,
            "changed_files": files,
            **({} if identical else diff(ours, theirs)),
        }
    if as_json:
        output.emit(json.dumps(record))
    if identical:
        output.say(f"rerun: {output.many(len(steps), 'step')}, the same bytes ({str(ours.sha256)[:12]})")
    elif not as_json:
        with contextlib.redirect_stdout(sys.stderr):
            show({**record, "accuracy": [None, None], "files": {}})
    if not identical:
        same = record["same_tensors"] and record["same_masks"]
        how = "the same tensors and masks, but another header" if same else "a different checkpoint"
        causes = [
            *(["other versions"] if changed else []),
            *(f"another {Path(f['path']).name}" for f in files.values()),
        ]
        cause = (
            f" ({', '.join(dict.fromkeys(causes))})" if causes else _may_have_changed(rerun.unrecorded(steps, places))
        )
        raise NotTheSame(f"rerunning the {output.many(len(steps), 'step')} of {path} gave {how}{cause}")
    if not as_json:
        output.emit(path if folder is None else made)


def _file_change(file: dict[str, Any], path: Path) -> str:
    """How one of the user's files differs from its version in the history."""
    was, now = (str(digest)[:12] for digest in file["sha256"])
    if was != now:
        return f"{file['path']} has changed since {path} was written: its sha256 was {was}, now it is {now}"
    return f"{file['path']} changed between the steps of {path}; the rerun uses the current version, {now}, for all"


def _may_have_changed(names: Sequence[str]) -> str:
    """A text on inputs that may have changed, since their hashes are not recorded."""
    return f"; {names[0]} may have changed (its hash is not recorded)" if names else ""


def _runner(folder: Path | None) -> Callable[[list[str]], str | None]:
    """A function that runs a command and returns None if it succeeded, else its last line."""
    from prunectl.cli import in_process

    def run(arguments: list[str]) -> str | None:
        ran = in_process.run(arguments, sys.stderr, failure=False)
        if ran.code == Interrupted.exit_code:
            how = "with the same command" if folder is None else f"with an -o other than {folder}"
            raise Interrupted(f"interrupted; nothing was compared; start again {how}")
        return None if ran.code == 0 else ran.last

    return run


def _check_fetches(steps: "Sequence[Step]", path: Path, *, download: bool) -> None:
    """Refuse to fetch published weights that only a file names.

    Raises:
        UntrustedCode: neither --download nor --trust is set.
    """
    begun = [dict(step.flags).get("--model") or "its library" for step in steps if ("--pretrained", None) in step.flags]
    fetched = [name for name in begun if not name.startswith("timm/local-dir:")]
    if fetched and not download and not consented():
        raise UntrustedCode(
            f"{path} begins with the published weights of {fetched[0]}, which a rerun would fetch; "
            "pass --download to allow that"
        )


def _check(folder: Path | None) -> None:
    """Refuse a folder that is not empty.

    Raises:
        FileError: it is not empty, or not a folder.
    """
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileError(f"{folder} is not an empty folder; use another one with -o")


@contextlib.contextmanager
def _folder(folder: Path | None) -> Iterator[Path]:
    """The folder to work in: the requested one, or a temporary one."""
    if folder is None:
        with temporary_folder(Path(tempfile.gettempdir()), "prunectl-rerun") as made:
            yield made
        return
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
