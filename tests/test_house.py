"""The plan of the package: few rooms, few rows, no circle, and every room says what it is for."""

import ast
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "prunectl"
MOST_MODULES, MOST_PACKAGES, MOST_ROWS, MOST_LINES = 8, 15, 10, 300
PACKAGES = sorted(path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py"))


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("prunectl", exclude_type_checking_imports=True, cache_dir=None)


def _rows() -> list[set[str]]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return [{name.strip().removeprefix("prunectl.") for name in row.split("|")} for row in layers]


def test_the_root_has_few_modules_and_packages() -> None:
    modules = list(PACKAGE.glob("*.py"))
    packages = [path for path in PACKAGE.iterdir() if (path / "__init__.py").exists()]
    assert len(modules) <= MOST_MODULES, sorted(path.name for path in modules)
    assert len(packages) <= MOST_PACKAGES, sorted(path.name for path in packages)


def test_every_room_stands_in_one_of_few_rows() -> None:
    rows = _rows()
    assert len(rows) <= MOST_ROWS
    named = [name for row in rows for name in row]
    rooms = {path.stem for path in PACKAGE.glob("*.py")} | {
        p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists()
    }
    assert sorted(named) == sorted(rooms - {"__init__", "__main__"})


def test_no_import_runs_up_or_sideways(graph) -> None:
    row_of = {name: i for i, row in enumerate(_rows()) for name in row}
    wrong = set()
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            ours, theirs = (name.split(".")[1:2] for name in (importer, imported))
            inside = ours == theirs or not row_of.keys() >= {*ours, *theirs} or not (ours and theirs)
            if not inside and row_of[ours[0]] >= row_of[theirs[0]]:
                wrong.add(f"{importer} -> {imported}")
    assert not wrong


def test_no_circle_of_imports(graph) -> None:
    """Depth first through the modules, package files left out, which import nothing of ours but `structure.rules`."""
    state: dict[str, int] = {}

    def visit(module: str, path: tuple[str, ...]) -> None:
        state[module] = 1
        for imported in sorted(graph.find_modules_directly_imported_by(module)):
            assert state.get(imported) != 1, " -> ".join((*path, module, imported))
            if imported not in state:
                visit(imported, (*path, module))
        state[module] = 2

    for module in sorted(graph.modules):
        if module not in state:
            visit(module, ())


@pytest.mark.parametrize("name", PACKAGES)
def test_every_room_says_what_it_is_for(name) -> None:
    docstring = ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text(encoding="utf-8")))
    assert docstring and docstring.endswith((".", ")")), name


def test_no_file_is_long() -> None:
    long = {
        p.relative_to(PACKAGE).as_posix(): n
        for p in PACKAGE.rglob("*.py")
        if (n := len(p.read_text().splitlines())) > MOST_LINES
    }
    assert not long
