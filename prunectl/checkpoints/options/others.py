"""The options of `shrink` and `import`, and the origin of a module from a Python program."""

from dataclasses import dataclass

from prunectl.checkpoints.options.option import option


@dataclass(frozen=True)
class ShrinkOptions:
    """The options of `shrink`: `norm` is one of `pruning.shrink.NORMS`."""

    norm: str = option("exact", sparse=True)


@dataclass(frozen=True)
class ImportOptions:
    """Which file was imported, and how it was read; `seed` initialises missing tensors.

    `pretrained` is the model whose published weights the file holds, fetched by `train` or `prune`.
    """

    file: str = option(shown=False)
    sha256: str = option(shown=False)
    weights: str | None = None
    key: str | None = None
    allow_missing: tuple[str, ...] = option((), sparse=True)
    seed: int | None = None
    pretrained: str | None = option(None, sparse=True, shown=False)


@dataclass(frozen=True)
class ModuleOrigin:
    """The class of an `nn.Module` from a Python program, and the digest of its tensors."""

    class_name: str = option(key="class")
    sha256: str = option()
