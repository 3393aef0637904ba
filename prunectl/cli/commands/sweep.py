"""prunectl sweep."""

import importlib.util
import json
import signal
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunectl.checkpoints.files import write
from prunectl.cli import options, output, progress
from prunectl.cli.completion import completes_one
from prunectl.errors import FileError, Interrupted, OptionError, StagesFailed, UntrustedCode
from prunectl.plugins.registry import PRESETS, check, check_trusted
from prunectl.plugins.trust import consented

if TYPE_CHECKING:
    from prunectl.sweeping.stages import Result, Stage
    from prunectl.sweeping.work import Job, Outcome

ENGINES = ("local", "ray")


def command(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="Pipelines and the values of a grid, in TOML.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for all files.")],
    jobs: Annotated[
        int | None,
        typer.Option("-j", "--jobs", help="Stages at a time  [default: 1; ray: all CPUs of the cluster]", min=1),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="local (processes on this machine) or ray (tasks of a Ray cluster).",
            autocompletion=completes_one(*ENGINES),
        ),
    ] = "local",
    gpus: Annotated[float, typer.Option(help="With ray: GPUs per stage, or a fraction of one.", min=0)] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands without running them.")] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Let the plan download the datasets and the published weights it names.")
    ] = False,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
) -> None:
    """Run a grid of pipelines; shared stages run once.

    If it was interrupted, the same command continues: it runs only stages that failed or did not finish. The results
    are reported in DIR/report.html, DIR/report.csv and DIR/report.json.
    """
    from prunectl.cli.in_process import ConsentingRun
    from prunectl.sweeping import run, state

    if engine not in ENGINES:
        raise OptionError(f"no engine named '{engine}'; use {' or '.join(ENGINES)}")
    if engine != "ray" and gpus:
        raise OptionError("--gpus is for --engine ray; stages of the local engine see every GPU")
    if engine == "ray" and importlib.util.find_spec("ray") is None:
        raise OptionError("--engine ray needs Ray: pip install 'prunectl[ray]'")
    text = _text(plan)
    stages, results = _stages(plan, text, download=download)
    shared = sum(stage.uses - 1 for stage in stages)
    stage_run = ConsentingRun(trust)
    line = f"sweep: {output.many(len(results), 'pipeline')}, {_counted(stages)}"
    if dry_run:
        todo = run.jobs_of(stages, out.resolve(), stage_run)
        output.say(f"{line}, {len(stages) - len(todo)} already done; would run:")
        for job in todo:
            output.emit(f"{job.stage.name}: {' '.join(job.stage.arguments)}")
        return
    state.prepare(out, text)
    with state.locked(out):
        todo = run.jobs_of(stages, out.resolve(), stage_run)
        output.say(f"{line}, {len(stages) - len(todo)} already done")
        write(out / state.PLAN, text.encode())
        started = time.monotonic()
        ended = _watched(todo, _engine(engine, todo, jobs, gpus))
        made = _reported(run.write_report(results, stages, out), out)
    failed = [outcome for outcome in ended if outcome.error is not None]
    record = {
        "report": None if made is None else str(made),
        "pipelines": len(results),
        "stages": len(stages),
        "shared": shared,
        "run": len(ended) - len(failed),
        "failed": {o.stage.name: o.error for o in failed if o.behind is None},
        "seconds": time.monotonic() - started,
    }
    output.say(f"sweep: {output.many(len(ended) - len(failed), 'stage')} run in {record['seconds']:.1f} s")
    if as_json:
        output.emit(json.dumps(record))
    _refuse_failed(failed, out)
    if not as_json and made is not None:
        output.emit(made)


def _reported(paths: "list[Path]", out: Path) -> Path | None:
    """The page of all checkpoints; if it cannot be drawn, print the reason and the table; None without any."""
    from prunectl.sweeping import run

    try:
        with progress.progress_bar("sweep") as bar:
            bar.step("drawing report.html")
            return run.write_page(paths, out) if paths else None
    except OptionError as error:
        output.say(str(error))
        return out / "report.csv"


def _counted(stages: "Sequence[Stage]") -> str:
    """The number of stages, and how many of them several pipelines share, if any."""
    several = sum(stage.uses > 1 for stage in stages)
    shared = f" ({several} shared by several pipelines)" if several else ""
    return f"{output.many(len(stages), 'stage')}{shared}"


def _stages(plan: Path, text: str, *, download: bool) -> "tuple[list[Stage], list[Result]]":
    """The stages and results of a plan.

    Raises:
        OptionError: names the file.
    """
    from prunectl.sweeping.plan import read_plan
    from prunectl.sweeping.stages import stages_of

    try:
        return stages_of(read_plan(text), cache(partial(_read, str(plan), download)))  # many pipelines share lines
    except OptionError as error:
        raise OptionError(f"{plan}: {error}") from error


def _text(plan: Path) -> str:
    try:
        return plan.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read {plan}: {getattr(error, 'strerror', None) or error}") from error


def _read(where: str, download: bool, arguments: Sequence[str]) -> dict[str, Any]:
    """A command line of the plan at `where` as parameters, with the names in it checked.

    Raises:
        UntrustedCode: it names code, or downloads without `download`; a plan may come from a stranger.
    """
    from prunectl.checkpoints.options.table import plugins_in
    from prunectl.cli import in_process
    from prunectl.plugins.places import sha256_of

    params = in_process.read(arguments)
    if not download and not consented():
        _check_fetches(where, arguments[0], params)
    named = plugins_in(arguments[0], params)
    for kind, name in named.items():
        if kind != "data":
            check(kind, name)
        check_trusted(kind, name, where)
    attacks = str(params.get("attack") or "").split(",")
    for name in attacks:
        check_trusted("attack", name, where)
        if name.islower() and name not in PRESETS:  # other names are looked up in foolbox
            check("attack", name)
    code = {Path(name.partition(":")[0]) for name in (*named.values(), *attacks) if ".py:" in name}
    for path in sorted(code):
        if not path.is_file():
            raise FileError(f"{where}: there is no {path} in {Path.cwd()}; run sweep in the folder of {path}")
    return params | {"code": [str(sha256_of(path)) for path in sorted(code)]}


def _check_fetches(where: str, command: str, params: Mapping[str, Any]) -> None:
    """Refuse downloads that only a plan asks for.

    Raises:
        UntrustedCode: the command does.
    """
    local = str(params.get("model")).startswith("timm/local-dir:")
    asked = [flag for flag in ("pretrained", "download") if params.get(flag) and not (flag == "pretrained" and local)]
    if asked:
        raise UntrustedCode(
            f"{where}: {command} --{asked[0]} downloads what the plan names; pass `sweep` --download to allow that"
        )


def _engine(name: str, todo: "list[Job]", jobs: int | None, gpus: float) -> "Generator[Outcome]":
    """The outcomes of jobs as they end."""
    if name == "ray":
        from prunectl.sweeping.on_ray import run_on_ray

        return run_on_ray(todo, jobs, gpus)
    from prunectl.sweeping.local import run_local

    return run_local(todo, jobs or 1)


def _watched(todo: "list[Job]", outcomes: "Generator[Outcome]") -> "list[Outcome]":
    """Wait for all outcomes with one progress bar; failures are printed as they come.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; running trainings are saved first.
    """
    ended: list[Outcome] = []
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with closing(outcomes), progress.progress_bar("sweep", len(todo)) as bar:
            bar.say_alive(_progress(ended, len(todo)))
            for outcome in outcomes if todo else ():
                ended.append(outcome)
                if outcome.error is not None and outcome.behind is None:
                    output.say(f"failed: {outcome.stage.name}: {outcome.error}")
                bar.update(len(ended), partial(_progress, ended, len(todo)))
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted after {len(ended)} of {output.many(len(todo), 'stage')}; the same command continues"
        ) from None
    finally:
        signal.signal(signal.SIGTERM, before)
    return ended


def _progress(ended: "list[Outcome]", total: int) -> str:
    failed = sum(outcome.error is not None for outcome in ended)
    return f"{len(ended)} of {output.many(total, 'stage')}" + (f", {failed} failed" if failed else "")


def _refuse_failed(failed: "list[Outcome]", out: Path) -> None:
    """End with one line if stages failed.

    Raises:
        StagesFailed: some did.
    """
    if not failed:
        return
    first = [outcome for outcome in failed if outcome.behind is None]
    behind = (
        f" and {len(failed) - len(first)} that depend on {'it' if len(first) == 1 else 'them'} did not run"
        if len(failed) > len(first)
        else ""
    )
    raise StagesFailed(
        f"{output.many(len(first), 'stage')} failed{behind}; see {out}/stages/{first[0].stage.name}.log; "
        "run the same command to try them again"
    )
