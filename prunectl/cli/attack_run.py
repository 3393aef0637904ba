"""Runs an attack on the command line: with progress, Ctrl-C and a result table."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunectl.checkpoints.names import beside
from prunectl.cli import output, progress, signals
from prunectl.cli.attack_part import Part, begun, has_part
from prunectl.errors import FileError, Interrupted

if TYPE_CHECKING:
    from prunectl.checkpoints.checkpoint import Checkpoint
    from prunectl.data.images import ImageData
    from prunectl.robustness.attack import Attacker
    from prunectl.robustness.tally import Tally

_PICTURES = (".examples.png", ".examples.safetensors")


@contextmanager
def attacked(
    network: "Checkpoint", images: "ImageData", path: Path | None, how: dict[str, Any], *, resume: bool, force: bool
) -> Iterator[dict[str, Any]]:
    """Attack to the end, or to Ctrl-C, and yield the record; finished batches are saved beside the checkpoint.

    These are removed after the block, which must write the record. Without a path, nothing is saved.
    """
    from prunectl.robustness.attack import Attacker
    from prunectl.torchtools.distributed import leads

    if not leads():
        attacker = Attacker(network, images, **how)
        _run(attacker, None)
        yield attacker.record()
        return
    if path is None and (how["examples"] or resume):
        flag = "--resume" if resume else "--save-examples"
        raise FileError(f"{flag}: the checkpoint's folder is not writable; copy the checkpoint to another one")
    pictures = path if how["examples"] else None
    if pictures is not None and not has_part(pictures):
        _check_pictures(pictures, force=force)
    attacker = Attacker(network, images, **how)
    with nullcontext() if path is None else begun(attacker, path, resume=resume, force=force) as part:
        if pictures is not None:
            _check_pictures(pictures, force=force or resume)  # an interrupted attack may replace its own
        _run(attacker, part)
        record = attacker.record()
        show(record)
        if path is not None:
            _pictures(attacker, path)
        yield record
        if part is not None:
            part.finish()


def _check_pictures(path: Path, *, force: bool) -> None:
    """Refuse to replace examples."""
    from prunectl.checkpoints.files import check_target

    for suffix in _PICTURES:
        check_target(beside(path, suffix), force=force, otherwise="move it away")


def _run(attacker: "Attacker", part: "Part | None") -> None:
    """Attack batch by batch.

    Raises:
        Interrupted: Ctrl-C came before the last batch.
    """
    from prunectl.torchtools.distributed import Vote, from_first

    batches = attacker.batches(from_first(lambda: [] if part is None else part.done))
    vote = Vote()
    with signals.caught() as stopped, progress.progress_bar(attacker.name, len(attacker.images)) as bar:
        attacker.watch = lambda images, what: bar.update(int(images), lambda: _so_far(what, attacker.total))
        for batch, total in batches:
            if part is not None:
                part.keep(batch)
            bar.update(total.images, lambda total=total: _robust(total))  # type: ignore[misc]
            if vote(bool(stopped)) and total.images < len(attacker.images):
                batches.close()
                kept = part is not None and part.is_kept
                what_next = "continue with the same command and --resume" if kept else "nothing is kept"
                raise Interrupted(
                    f"interrupted after {total.images:,} of {len(attacker.images):,} images, {_robust(total)} so far; "
                    f"{what_next}"
                )


def show(record: dict[str, Any]) -> None:
    """Print the numbers as a table, and the warnings about them."""
    norms = "".join(
        f", median {record['norm']} norm of {name} {'none' if size in (None, float('inf')) else f'{size:.4g}'}"
        for name, size in record.get("median_norm", {}).items()
    )
    agreement = f", {output.percent(record['agreement'])} as the reference" if "agreement" in record else ""
    output.say(
        f"{record['attack']} ({record['norm']}): clean accuracy {output.percent(record['clean_accuracy'])}{agreement} "
        f"on {output.many(record['images'], 'image')}{norms}"
    )
    results = record["results"]
    each = record["attacks"] if len(record["attacks"]) > 1 else []
    rows = [
        *([name, *(output.percent(r["attacks"][name]["robust_accuracy"]) for r in results)] for name in each),
        ["robust accuracy", *(output.percent(r["robust_accuracy"]) for r in results)],
        ["success", *(output.percent(r["success"]) for r in results)],
        *([["as reference", *(output.percent(r["agreement"]) for r in results)]] if "agreement" in record else []),
    ]
    output.table(["eps", *(f"{r['eps']:.3g}" for r in results)], rows)
    for warning in record["warnings"]:
        output.warn(warning)


def _robust(total: "Tally") -> str:
    """Robust accuracy so far, at every eps."""
    return "robust " + " ".join(output.percent(count / total.images) for count in total.robust)


def _so_far(what: str, total: "Tally | None") -> str:
    """What is running, and the result of the finished batches."""
    return what if total is None else f"{what}, {_robust(total)}"


def _pictures(attacker: "Attacker", path: Path) -> None:
    """Write the requested examples."""
    from prunectl.checkpoints.files import write

    if not attacker.examples.wanted:
        return
    if not len(attacker.examples):
        output.say("no examples to save: no attack succeeded")
        return
    picture, tensors = (beside(path, suffix) for suffix in _PICTURES)
    about = {"attack": attacker.name, "norm": attacker.methods[0].norm, "eps": attacker.levels[-1]}
    write(tensors, attacker.examples.safetensors({**about, "checkpoint": attacker.checkpoint.sha256}))
    write(picture, attacker.examples.png(attacker.data.classes))
    output.say(f"{len(attacker.examples)} examples: {picture}")
