"""Reads options, docstrings and constants of plug-ins from their source, without importing them."""

import ast
import contextlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Definition = ast.FunctionDef | ast.ClassDef
"""Definitions with a docstring and arguments."""
_SKIPPED = ("self", "distance")
"""Arguments that are not options."""
REQUIRED = "required"


class Unreadable(Exception):
    """Raised for a fact that only running the code would show."""


@dataclass(frozen=True)
class Source:
    """A module's syntax tree; `name` is its full name."""

    name: str
    tree: ast.Module

    def find(self, name: str) -> "tuple[Source, ast.stmt]":
        """Where a name is defined: here, or in the module that it is imported from.

        Raises:
            Unreadable: it is defined in neither.
        """
        for part in self.tree.body:
            if isinstance(part, Definition) and part.name == name:
                return self, part
            if isinstance(part, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in part.targets):
                return self, part
            if isinstance(part, ast.ImportFrom):
                for alias in part.names:
                    if (alias.asname or alias.name) == name:
                        return source_of(self._imported(part)).find(alias.name)
        raise Unreadable(f"{self.name} does not define {name}")

    def _imported(self, part: ast.ImportFrom) -> str:
        """The full name of the module of an import."""
        above = self.name.split(".")[: -part.level] if part.level else []
        return ".".join([*above, *([part.module] if part.module else [])])

    def value(self, node: ast.expr) -> Any:
        """The value of a constant expression.

        Raises:
            Unreadable: it is none.
        """
        if isinstance(node, ast.Name):
            where, found = self.find(node.id)
            if not isinstance(found, ast.Assign):
                raise Unreadable(f"{node.id} is not a constant")
            return where.value(found.value)
        if isinstance(node, ast.JoinedStr):
            return "".join(str(self.value(part)) for part in node.values)
        if isinstance(node, ast.FormattedValue):
            return self.value(node.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            return self.value(node.left) / self.value(node.right)
        try:
            return ast.literal_eval(node)
        except ValueError as error:
            raise Unreadable(ast.unparse(node)) from error

    def options(self, found: Definition) -> dict[str, Any]:
        """The options of a function or class, with their defaults, or `REQUIRED`."""
        try:
            where, function = (self, found) if isinstance(found, ast.FunctionDef) else self._constructor(found)
        except Unreadable:  # the constructor of `object`
            return {}
        arguments = function.args
        positional = [*arguments.posonlyargs, *arguments.args] if isinstance(found, ast.ClassDef) else []
        missing = [None] * (len(positional) - len(arguments.defaults)) if positional else []
        pairs = [
            *zip(positional, [*missing, *arguments.defaults], strict=bool(positional)),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]
        return {
            each.arg: REQUIRED if default is None else where._shown(default)
            for each, default in pairs
            if each.arg not in _SKIPPED
        }

    def keywords(self, found: Definition) -> dict[str, Any]:
        """The keyword-only options of a function, or of the constructor of a class; the fields of a dataclass."""
        if isinstance(found, ast.ClassDef) and found.decorator_list:
            return {name: REQUIRED if value is None else self._shown(value) for name, value in fields(self, found.name)}
        where, function = (self, found) if isinstance(found, ast.FunctionDef) else self._constructor(found)
        return where.options(function)

    def _shown(self, node: ast.expr) -> Any:
        """A default; its source if it is not a constant."""
        try:
            return self.value(node)
        except Unreadable:
            return ast.unparse(node)

    def _constructor(self, found: ast.ClassDef) -> "tuple[Source, ast.FunctionDef]":
        """The constructor of a class, or of its first base that has one."""
        for part in found.body:
            if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                return self, part
        for base in found.bases:
            where, parent = self.find(base.id) if isinstance(base, ast.Name) and base.id != "ABC" else (self, found)
            if isinstance(parent, ast.ClassDef) and parent is not found:
                with contextlib.suppress(Unreadable):
                    return where._constructor(parent)
        raise Unreadable(f"{found.name} has no constructor")

    @property
    def about(self) -> str:
        """The first paragraph of the module's docstring."""
        return paragraph(ast.get_docstring(self.tree))


@cache
def source_of(module: str) -> Source:
    """The source of a module.

    Raises:
        Unreadable: there is none.
    """
    top, *rest = module.split(".")
    found = importlib.util.find_spec(top)
    if found is None or found.origin is None:
        raise Unreadable(f"{top} is not installed")
    place = Path(found.origin).parent.joinpath(*rest)
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return Source(module if path.name != "__init__.py" else f"{module}.__init__", ast.parse(path.read_bytes()))
    raise Unreadable(f"no source of {module}")


def definition(address: str) -> tuple[Source, ast.stmt]:
    """The definition of `module:name`.

    Raises:
        Unreadable: its source does not show it.
    """
    module, _, name = address.rpartition(":")
    return source_of(module).find(name)


def call(found: ast.stmt) -> ast.Call:
    """The call in a constant such as `snip = Criterion(...)`.

    Raises:
        Unreadable: it is none.
    """
    if isinstance(found, ast.Assign) and isinstance(found.value, ast.Call):
        return found.value
    raise Unreadable("no call")


def paragraph(text: str | None) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((text or "").partition("\n\n")[0].split())


def fields(record: Source, name: str) -> Iterator[tuple[str, ast.expr | None]]:
    """The fields of a dataclass with their defaults."""
    _, found = record.find(name)
    for part in getattr(found, "body", ()):
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            yield part.target.id, part.value
