"""An attack on the command line: watched, stopped by Ctrl-C, taken up again, shown."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunectl.checkpoints.names import beside
from prunectl.checkpoints.texts import parsed
from prunectl.cli import output, progress, signals
from prunectl.errors import FileError, Interrupted, OptionError

if TYPE_CHECKING:
    from prunectl.checkpoints.checkpoint import Checkpoint
    from prunectl.data.images import ImageData
    from prunectl.robustness.attack import Attacker
    from prunectl.robustness.tally import Tally

_PART = ".attack.part.jsonl"
_PICTURES = (".examples.png", ".examples.safetensors")


def run(
    network: "Checkpoint", images: "ImageData", path: Path | None, how: dict[str, Any], *, resume: bool, force: bool
) -> dict[str, Any]:
    """Attack to the end, or to Ctrl-C; what is done lies beside the checkpoint, batch by batch, until it is whole.

    Without a path nothing is kept on the way.
    """
    from prunectl.checkpoints.files import append_record, check_target
    from prunectl.robustness.attack import Attacker

    if how["examples"] and resume:
        raise OptionError("--save-examples needs all images, and an interrupted attack kept none; leave out one")
    if path is None and (how["examples"] or resume):
        flag = "--resume" if resume else "--save-examples"
        raise FileError(f"{flag}: nothing can be written beside the checkpoint; copy it to a folder of your own")
    if path is not None and how["examples"]:
        for suffix in _PICTURES:
            check_target(beside(path, suffix), force=force, otherwise="move it away")
    attacker = Attacker(network, images, **how)
    part, identity = None if path is None else beside(path, _PART), _identity(attacker)
    done = _done(part, identity) if part is not None and resume else []
    if part is not None and not resume:
        if part.exists() and not force:
            raise OptionError(f"{part} holds an interrupted attack; go on with --resume, or replace it by --force")
        part.unlink(missing_ok=True)
    batches = attacker.batches(done)
    with signals.caught() as stopped, progress.progress_bar(how["attack"], len(attacker.images)) as bar:
        for batch, total in batches:
            if part is not None:
                if not part.exists():
                    append_record(part, {"run": identity})
                append_record(part, {"batch": batch.plain()})
            bar.update(total.images, lambda total=total: _robust(total))  # type: ignore[misc]
            if stopped and total.images < len(attacker.images):
                batches.close()
                what_next = "nothing is kept" if part is None else "go on with the same command and --resume"
                raise Interrupted(
                    f"interrupted after {total.images:,} of {len(attacker.images):,} images, {_robust(total)} so far; "
                    f"{what_next}"
                )
    record = attacker.record()
    if path is not None and part is not None:
        _pictures(attacker, path)
        part.unlink(missing_ok=True)
    show(record)
    return record


def show(record: dict[str, Any]) -> None:
    """The numbers as a table, and what speaks against them."""
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


def _identity(attacker: "Attacker") -> dict[str, Any]:
    """What must be the same for an attack to go on."""
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
        "seed": attacker.seed,
        **{key: None if network is None else network.sha256 for key, network in others.items()},
    }


def _done(part: Path, identity: dict[str, Any]) -> "list[Tally]":
    """The batches that an interrupted attack did; from a line on that does not read (a kill), all are done again."""
    from prunectl.checkpoints.files import write
    from prunectl.robustness.tally import Tally

    if not part.exists():
        raise FileError(f"no interrupted attack at {part}; leave out --resume")
    first, *lines = part.read_bytes().splitlines(keepends=True) or [b""]
    try:
        begun = dict(parsed(first)["run"])
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(f"{part} is damaged; begin anew with --force") from error
    for key, value in json.loads(json.dumps(identity)).items():
        if begun.get(key) != value:
            raise OptionError(f"--resume goes on as the attack began: {key} was {begun.get(key)}, is {value}")
    done: list[Tally] = []
    for line in lines:
        try:
            tally = Tally.read(parsed(line)["batch"])
            if (len(tally.robust), list(tally.methods)) != (len(identity["eps"]), identity["attacks"]):
                break
            done.append(tally)
        except (ValueError, KeyError, TypeError, AttributeError):
            break
    if len(done) < len(lines):
        write(part, b"".join([first, *lines[: len(done)]]))
    return done


def _pictures(attacker: "Attacker", path: Path) -> None:
    """Write the examples that were asked for."""
    from prunectl.checkpoints.files import write

    if not attacker.examples.wanted:
        return
    if not len(attacker.examples):
        output.say("no image was turned: there are no examples to save")
        return
    picture, tensors = (beside(path, suffix) for suffix in _PICTURES)
    about = {"attack": attacker.name, "norm": attacker.methods[0].norm, "eps": attacker.levels[-1]}
    write(tensors, attacker.examples.safetensors({**about, "checkpoint": attacker.checkpoint.sha256}))
    write(picture, attacker.examples.png(attacker.data.classes))
    output.say(f"{len(attacker.examples)} examples: {picture}")
