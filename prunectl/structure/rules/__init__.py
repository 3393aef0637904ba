"""One short file per family of operations; importing this package fills the table of `structure/operations.py`."""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
