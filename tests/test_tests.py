"""Rules that the tests themselves keep to."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MODULES = sorted(TESTS.rglob("test_*.py"))
ADDRESSES = {".".join(["tests", *module.relative_to(TESTS).with_suffix("").parts]) for module in MODULES}


def named_test_modules(source: str) -> set[str]:
    """The test modules that a source imports, or names at the start of a string such as an address `module:name`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value.partition(":")[0])
    return found & ADDRESSES


def test_modules_name_no_test_module() -> None:
    named = {path: named_test_modules(path.read_text(encoding="utf-8")) for path in TESTS.rglob("*.py")}
    assert {str(path.relative_to(TESTS)): found for path, found in named.items() if found} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import tests.test_tests",
        "from tests.test_tests import ADDRESSES",
        "from tests import test_tests",
        "spec = 'tests.test_tests:built'",
        "spec = f'tests.test_tests:{name}'",
    ],
)
def test_import_or_address_of_a_test_module_is_found(source: str) -> None:
    assert named_test_modules(source) == {__name__}


def test_helpers_and_benchmarks_hold_no_test_module() -> None:
    """The default run collects neither."""
    assert [module for module in MODULES if module.relative_to(TESTS).parts[0] in ("helpers", "benchmarks")] == []


def quick_tests(source: str) -> list[str]:
    """The test functions of a module that are not marked `long`; a mark on one of their parameters does not count."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return [
        function.name
        for function in functions
        if function.name.startswith("test_")
        and "pytest.mark.long" not in [ast.unparse(decorator) for decorator in function.decorator_list]
    ]


def test_long_tests_are_found() -> None:
    source = "@pytest.mark.long\ndef test_a(): ...\n@pytest.mark.slow\ndef test_b(): ...\ndef helper(): ..."
    assert quick_tests(source) == ["test_b"]


def test_every_module_has_a_test_that_is_not_long() -> None:
    """The default run takes something of every kind."""
    texts = {module: module.read_text(encoding="utf-8") for module in MODULES}
    marked = [module for module, text in texts.items() if "pytest.mark.long" in text]
    assert len(marked) > 5
    assert [str(module) for module in marked if not quick_tests(texts[module])] == []
