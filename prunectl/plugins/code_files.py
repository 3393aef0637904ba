"""Imports the user's Python files from any folder."""

import hashlib
import importlib.util
import sys
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any


class _Source(SourceFileLoader):
    """A loader without bytecode: it writes none into the user's folder, and reads none of an earlier file."""

    sha256: str | None = None
    """The sha256 of the compiled text."""

    def get_code(self, fullname: str) -> CodeType:
        """Compile the current file."""
        text = self.get_data(self.path)
        self.sha256 = hashlib.sha256(text).hexdigest()
        code: CodeType = self.source_to_code(text, self.path)
        return code


def imported_sha256(path: Path) -> str | None:
    """The sha256 of a file's text when this process imported it (it may have changed since), or None."""
    loader = getattr(getattr(sys.modules.get(_key(path)), "__spec__", None), "loader", None)
    return loader.sha256 if isinstance(loader, _Source) else None


def _key(path: Path) -> str:
    return f"prunectl_file_{path.stem}_{abs(hash(path.resolve()))}"


def import_file(path: Path) -> Any:
    """Import a Python file by its path, once."""
    key = _key(path)
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ImportError(f"no such file: {path}")
    if isinstance(spec.loader, SourceFileLoader):
        spec.loader = _Source(key, str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[key]
        if isinstance(error, ImportError | AttributeError | OSError):
            raise
        what = " ".join(str(error).split())[:200]
        said = f"{type(error).__name__}: {what}" if what else type(error).__name__
        raise ImportError(f"{said}{_line_in(path, error)}") from error
    except BaseException:
        del sys.modules[key]
        raise
    return module


def _line_in(path: Path, error: BaseException) -> str:
    """The last line of a file on the way to an error."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", in line {lines[-1]}" if lines else ""
