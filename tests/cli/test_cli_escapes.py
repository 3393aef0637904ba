"""What a stranger's file says reaches no terminal, no table program and no Markdown as anything but text."""

import csv
import io
import json
import warnings

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from prunectl.checkpoints.escapes import csv_cell, markdown, visible
from prunectl.cli import output, progress, terminal
from prunectl.cli.app import main
from prunectl.reporting.formats import table_csv
from tests.helpers.running import run_cli

HOSTILE = {
    "ESC": "\x1b[31mred",
    "OSC": "\x1b]0;title\x07",
    "link": "\x1b]8;;http://x.y\x1b\\here",
    "C1": "\x9b2J",
    "bidi": "a\u202eb",
    "isolate": "\u2066x",
    "zero width": "a\u200bb\ufeff",
    "newline": "a\nprunectl: forged",
    "return": "a\rb",
    "delete": "a\x7f\x08b",
    "separator": "a\u2028b",
    "markup": "[/red] [link=http://x.y]z[/link] :smile:",
}


def is_safe(text: str) -> bool:
    return all(c.isprintable() or c in "\n\t" for c in text)


@pytest.mark.parametrize("name", HOSTILE)
def test_one_line_of_what_can_be_seen(name: str) -> None:
    shown = visible(HOSTILE[name])
    assert shown.isprintable()
    assert (shown == HOSTILE[name]) == (name == "markup")
    assert visible("plain text, é, 漢") == "plain text, é, 漢"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_every_way_out(name: str, stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines, tables, bars and warnings, with rich's own escapes taken out where it is a terminal."""
    monkeypatch.setenv("TERM", "dumb")
    told, shown, text = stream(), stream(), HOSTILE[name]
    monkeypatch.setattr("sys.stderr", told)
    monkeypatch.setattr("sys.stdout", shown)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    terminal.guard()
    output.say(text)
    output.table([text, "n"], [[text, "1"]])
    with progress.progress_bar(text, 10) as bar:
        bar.shown = -1e9
        bar.update(5, lambda: text)
    print(text, file=terminal.sys.stderr)
    terminal.sys.stderr.write(warnings.formatwarning(text, UserWarning, text, 1))
    output.emit(text)
    if stream is Terminal:
        output.emit_lines(text)
    for found in (told.getvalue(), shown.getvalue()):
        assert is_safe(found.replace("\r", "") if stream is Terminal and name != "return" else found.lstrip("\r"))
    if name == "markup":
        assert "[/red] [link=http://x.y]z[/link] :smile:" in told.getvalue().replace("\n", "")


def test_a_path_in_a_pipe_stays_exact(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    output.emit(tmp_path / "a\x1b[31m\u202e.safetensors")
    assert capsys.readouterr().out == f"{tmp_path}/a\x1b[31m\u202e.safetensors\n"


@pytest.fixture
def strange(tiny, tmp_path):
    """A checkpoint whose header, history, results and log hold every hostile text."""
    text = "".join(value for name, value in HOSTILE.items() if name != "markup") + HOSTILE["markup"]
    with safe_open(tiny, "pt") as file:
        head = json.loads(file.metadata()["prunectl"])
    head |= {"data": text, "names": [f"{text}{i}" for i in range(10)], "schema": 2, "resize": None, "pair": None}
    head["history"][0]["options"] |= {"criterion": text, "scope": text, text: text}
    head["history"][0]["result"] |= {"thin_groups": [text]}
    head["history"][0]["versions"] = {text: text}
    save_file(load_file(tiny), tmp_path / "strange.safetensors", {"prunectl": json.dumps(head)})
    record = {"command": "eval", "checkpoint": None, "data": {"name": text}, "accuracy": 0.5, "warnings": [text]}
    attacked = {"command": "attack", "attack": text, "results": [{"eps": 0.1, "robust_accuracy": 0.5}]}
    lines = [json.dumps(each) for each in (record, {**attacked, "data": {"name": text}})]
    (tmp_path / "strange.results.jsonl").write_text("\n".join(lines))
    (tmp_path / "strange.log.jsonl").write_text(json.dumps({"epoch": text}))
    return "strange.safetensors"


@pytest.mark.parametrize(
    "line",
    [
        "inspect X",
        "log X",
        "eval X",
        "report X",
        "report X --parents",
        "diff tiny.safetensors X",
        "shrink X",
        "explain X",
    ],
)
def test_no_command_hands_on_what_steers(line: str, strange: str, tmp_path) -> None:
    ran = run_cli(tmp_path, *line.replace("X", strange).split())
    assert is_safe(ran.out)
    assert is_safe(ran.err)
    assert not any(part.startswith("prunectl: forged") for part in (ran.out + ran.err).splitlines())


def test_names_of_files_and_options(tmp_path, raw) -> None:
    for line in (["inspect", "\x1b[31m\u202e.safetensors"], ["eval", "a\nb"], ["prune", "x", "-c", "\x1b]0;t\x07"]):
        ran = raw(*line)
        assert ran.code == 1 and ran.err.count("\n") == 1 and is_safe(ran.err)
    assert is_safe(raw("eval", "--\x1b[31m").err)


def test_main_guards_what_is_left(monkeypatch, tmp_path) -> None:
    told = io.StringIO()
    monkeypatch.setattr("sys.stderr", told)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["inspect", "\x1b[2J"])
    assert "\\x1b[2J" in told.getvalue()
    assert not [*tmp_path.iterdir()]


def test_cells_that_a_table_program_would_run() -> None:
    assert [csv_cell(v) for v in ("=1+1", "+1", "-1", "@x", "\tx", "a=1", "", -1, 0.5, None)] == [
        *("'=1+1", "'+1", "'-1", "'@x", "'\tx", "a=1", "", -1, 0.5, None)
    ]
    rows = [*csv.reader(io.StringIO(table_csv(["=a", "b"], [["=HYPERLINK(1)", -0.5]])))]
    assert rows == [["'=a", "b"], ["'=HYPERLINK(1)", "-0.5"]]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<img src=x onerror=y>", "&lt;img src=x onerror=y&gt;"),
        ("a|b", r"a\|b"),
        ("![a](http://x.y)", r"\!\[a\]\(http&#58;//x.y\)"),
        ("www.x.y & `code` **b** \\|", r"www&#46;x.y &amp; \`code\` \*\*b\*\* \\\|"),
        ("a\nb\x1b", r"a\nb\x1b"),
    ],
)
def test_markdown_shows_the_text(text: str, shown: str) -> None:
    assert markdown(text) == shown


def test_tables_in_markdown_and_latex(strange: str, raw) -> None:
    rows = raw("report", strange, "--markdown").out
    assert rows.count("\n") == 3 and is_safe(rows) and "http&#58;//" in rows
    assert is_safe(raw("report", strange, "--latex").out)
    assert json.loads(raw("report", strange, "--json").out)[0]["data"].startswith(HOSTILE["ESC"])
