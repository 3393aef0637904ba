"""The options of `export`, and the kinds of files that have them."""

from pathlib import Path

from prunectl.errors import OptionError

FORMATS = "NAME.onnx, NAME.pt2, NAME.py or FOLDER/"


def kind_of(path: str | Path) -> str:
    """The kind of file that a path names: "onnx", "pt2", "py" or "folder".

    Raises:
        OptionError: it names none of these.
    """
    suffix = Path(path).suffix
    if str(path).endswith("/") or Path(path).is_dir() or not suffix:
        return "folder"
    if suffix not in (".onnx", ".pt2", ".py"):
        raise OptionError(f"expected {FORMATS}, got {path}")
    return suffix.removeprefix(".")


def check_fits(kind: str, *, pixels: bool, softmax: bool, fuse: bool, fp16: bool, int8: bool) -> None:
    """Refuse options that a kind of file does not have.

    Raises:
        OptionError: names the first such option.
    """
    asked = {"pixels": pixels, "softmax": softmax, "fuse": fuse, "fp16": fp16, "int8": int8}
    fit = {"onnx": tuple(asked), "pt2": ("pixels", "softmax", "fuse")}.get(kind, ())
    wrong = next((name for name, given in asked.items() if given and name not in fit), None)
    if wrong is not None:
        takes = "NAME.onnx" if wrong in ("fp16", "int8") else "NAME.onnx and NAME.pt2"
        raise OptionError(f"`{wrong}` is for {takes}; leave it out, or choose such an output")
    if fp16 and int8:
        raise OptionError("`fp16` and `int8` exclude each other; use one of them")
