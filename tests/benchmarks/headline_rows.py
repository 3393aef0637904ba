"""The rows of HEADLINE.md: what is run, what the authors report, what is aimed at, and what limits a row.

A row's `line` is the pipeline that is run, without `--seed` and the names of files. `{...}` never occurs in it: what is
here is what HEADLINE.md shows.
"""

from dataclasses import dataclass

DATA = "--data imagefolder:cifar10-jpeg"
SMALL = f"{DATA} --image-size 16"
SHORT = "--subset 25000 --epochs 2 --sched onecycle"
CRITERIA = ("snip", "snipit", "grasp", "synflow", "random")


@dataclass(frozen=True)
class Row:
    """A pipeline and what is known of it. `least` is the aim: points of accuracy beside the row `dense`."""

    name: str
    line: str
    seeds: tuple[int, ...] = (0, 1, 2)
    paper: str = ""
    least: float | None = None
    attack: str = ""
    limit: str = ""


@dataclass(frozen=True)
class Table:
    """Rows that are compared. `words` stand above the table, `curve` says that its rows are drawn over FLOPs."""

    key: str
    title: str
    words: str
    rows: tuple[Row, ...]
    curve: bool = False


def _curve(model: str, data: str, fit: str, widths: tuple[int, ...]) -> tuple[Row, ...]:
    """SNAP-it and random nodes at three node sparsities, and narrow dense networks of about the FLOPs of SNAP-it."""
    new = f"--model {model} {data}"
    nodes = [
        Row(f"{criterion} {share}", f"prune {new} -c {criterion} -s {share} | shrink | train {fit}")
        for criterion in ("snapit", "structured-random")
        for share in (0.5, 0.75, 0.9)
    ]
    narrow = [Row(f"width {width}", f"train {new} -M width={width} {fit}") for width in widths]
    return (Row("dense", f"train {new} {fit}"), *nodes, *narrow)


def _weights(model: str, data: str, fit: str, shares: tuple[float, ...], attack: str) -> tuple[Row, ...]:
    """Criteria before training, and imp during it."""
    new = f"--model {model} {data}"
    before = [
        Row(f"{criterion} {share}", f"prune {new} -c {criterion} -s {share} | train {fit}", attack=attack)
        for share in shares
        for criterion in CRITERIA
    ]
    imp = [Row(f"imp {share}", f"train {new} {fit} -c imp -s {share}", attack=attack) for share in shares]
    return (Row("dense", f"train {new} {fit}", attack=attack), *before, *imp)


def _vgg16() -> tuple[Row, ...]:
    new, fit = f"--model vgg16 {DATA}", "-b 512 --epochs 30 --sched onecycle"
    snapit = f"prune {new} -b 512 -c snapit -s 0.93 --max-pruned 1 | shrink | train {fit}"
    return (
        Row("dense", f"train {new} {fit}", seeds=(0,)),
        Row("snapit 0.93", snapit, paper="-1 points, 99 % of the weights, 8x fewer training FLOPs", least=-0.5),
        Row("cnipit 0.98", f"prune {new} -b 512 -c cnipit -s 0.98 | train {fit}"),
    )


def _resnet18() -> tuple[Row, ...]:
    new, fit = f"--model resnet18 {DATA}", "-b 512 --epochs 40 --sched onecycle"
    paper, least = {"snipit": "-4 points"}, {"snipit": -2.0}
    before = [
        Row(
            f"{name} 0.98",
            f"prune {new} -b 512 -c {name} -s 0.98 | train {fit}",
            paper=paper.get(name, ""),
            least=least.get(name),
        )
        for name in (*CRITERIA, "force", "cnipit")
    ]
    during = Row("snipit-during 0.98", f"train {new} {fit} -c snipit-during -s 0.98", paper="-0 points", least=0.0)
    imp = Row("imp 0.98", f"train {new} {fit} -c imp -s 0.98 --rewind-to 3")
    return (Row("dense", f"train {new} {fit}"), during, *before, imp)


TABLES = (
    Table(
        "resnet20-16px",
        "ResNet20 at 16x16 pixels: SNAP-it, random nodes, dense networks of the same FLOPs",
        "",
        _curve("resnet20", SMALL, SHORT, (12, 8, 5, 4)),
        curve=True,
    ),
    Table(
        "conv6-16px",
        "Conv6 at 16x16 pixels: weights pruned before training",
        "",
        _weights("conv6", SMALL, SHORT, (0.9, 0.98), "-a standard -n 100 --eps 1/255,2/255"),
    ),
    Table("vgg16", "VGG16: SNAP-it before training", "", _vgg16()),
    Table("resnet18", "ResNet18: SNIP-it before and during training", "", _resnet18()),
)
