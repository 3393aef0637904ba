"""prunectl report."""

import json
from pathlib import Path
from typing import Annotated

import typer

from prunectl.cli import options, output
from prunectl.errors import OptionError


def command(
    ctx: typer.Context,
    checkpoints: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CHECKPOINT...",
            help="Checkpoints, folders of them, results or logs without a checkpoint, or - for a path on stdin.",
        ),
    ] = None,
    parents: Annotated[
        bool, typer.Option("--parents", help="Also show their ancestors, if found beside them.")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Show what each method keeps of every layer, mean over seeds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    as_latex: Annotated[
        bool, typer.Option("--latex", help="Print a LaTeX table of means and standard deviations over seeds.")
    ] = False,
    output_path: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write a page, NAME.html, that opens offline.")
    ] = None,
    inside: Annotated[
        Path | None, typer.Option(help="The network that the page shows first  [default: the best trade-off]")
    ] = None,
    run: Annotated[
        bool, typer.Option("--run/--no-run", help="Run the network shown first, for saliency maps and speed.")
    ] = True,
    data_dir: options.DataDir = None,
    force: options.Force = False,
    trust: options.Trust = False,
    config: options.Config = None,
) -> None:
    """Compare checkpoints in a table or a page: how they were made, and what eval and attack measured."""
    from prunectl.cli import report_table
    from prunectl.reporting import formats
    from prunectl.reporting.curves import settings as settings_of
    from prunectl.reporting.rows import rows as rows_of
    from prunectl.reporting.sources import collect

    if as_json + as_csv + as_markdown + as_latex + (output_path is not None) > 1:
        raise OptionError("expected one of --json, --csv, --markdown, --latex and -o")
    flag = options.given(ctx, {"inside", "run", "data_dir", "force"}) if output_path is None else None
    if flag is not None:
        raise OptionError(f"{flag} is for a page; add -o NAME.html")
    if layers and (as_latex or output_path is not None):
        raise OptionError("--layers is for the terminal, --json, --csv and --markdown; a page always has these tables")
    given: list[str | None] = [*checkpoints] if checkpoints else [None]
    paths = [Path(c) if c not in (None, "-") else options.checkpoint_path(c) for c in given]
    if output_path is not None:
        from prunectl.cli.report_page import write_page

        write_page(paths, output_path, parents=parents, inside=inside, run=run, data_dir=data_dir, force=force)
        return
    sources = collect(paths, parents=parents)
    rows = rows_of(sources)
    settings, mixed = settings_of(sources)
    if layers:
        from prunectl.cli import report_layers

        form = "json" if as_json else "csv" if as_csv else "markdown" if as_markdown else ""
        report_layers.show(settings, sources, form)
    elif as_json:
        output.emit(json.dumps(rows))
    elif as_csv:
        output.emit_lines(formats.as_csv(rows))
    elif as_markdown:
        output.emit_lines(formats.as_markdown(rows))
    elif as_latex:
        output.emit_lines(formats.as_latex(settings))
    else:
        report_table.show(rows, settings)
    for notice in (*sources.notices, *mixed):
        output.say(f"report: {notice}")
