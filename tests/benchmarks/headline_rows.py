"""The rows of HEADLINE.md: what is run, what the authors report, what is aimed at, and what limits a row.

A row's `line` is the pipeline that is run, without `--seed` and the names of files.
"""

from dataclasses import dataclass

DATA = "--data imagefolder:cifar10-jpeg"
SMALL = f"{DATA} --image-size 16"
SHORT = "--epochs 2 --sched onecycle --amp"
SHORTER = "--subset 25000 --epochs 2 --sched onecycle --amp"
ROBUST = "-a standard -n 500 --eps 1/255,2/255,8/255"
CRITERIA = ("snip", "snipit", "grasp", "synflow", "random")


@dataclass(frozen=True)
class Row:
    """A pipeline and what is known of it. `least` is the aim: points of accuracy above the row `dense`."""

    name: str
    line: str
    seeds: tuple[int, ...] = (0, 1, 2)
    paper: str = ""
    least: float | None = None
    attack: str = ""
    limit: str = ""


@dataclass(frozen=True)
class Table:
    """Rows that are compared, with words before and findings after their table; a `curve` is also drawn."""

    key: str
    title: str
    words: str
    rows: tuple[Row, ...]
    curve: bool = False
    findings: str = ""


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


def _weights(model: str, data: str, fit: str, rounds: str, attack: str) -> tuple[Row, ...]:
    """Criteria before training, and imp, which prunes in `rounds` and rewinds, at two shares of weights."""
    shares = (0.9, 0.98)
    new = f"--model {model} {data}"
    before = [
        Row(f"{criterion} {share}", f"prune {new} -c {criterion} -s {share} | train {fit}", attack=attack)
        for share in shares
        for criterion in CRITERIA
    ]
    imp = [Row(f"imp {share}", f"train {new} {fit} -c imp -s {share} {rounds}", attack=attack) for share in shares]
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


ABOUT = """# Headline rows on CIFAR-10

The paper's headline results, run again with the commands below: `python -m tests.benchmarks.headline --folder DIR` runs
what is missing and goes on where it stopped, `--render` writes this page from `headline.jsonl`.

- *accuracy*: all 10,000 test images, after the last epoch, mean and standard deviation over the seeds
- *beside dense*: minus the accuracy of the dense network of the same seed
- *training FLOPs*: forward and backward passes of all training steps, without those of scoring
- *authors*: what the README of the authors' code reports; empty where it has no such row
- *commit*: of prunectl

The images are CIFAR-10 as JPEG files of quality 75. The paper has the
original images."""

SMALL_WORDS = """The settings are far below the authors': images scaled to 16x16 pixels, {}, a one-cycle learning rate
up to 0.002, bfloat16 (`--amp`). No network is trained to the end, and the authors report no such row."""

WHOLE = "2 epochs (782 steps of 128 images)"
HALF = "25,000 of the 50,000 training images, 2 epochs (392 steps)"

LONG_WORDS = """{} epochs of all images at 32x32 pixels with a one-cycle learning rate, where the authors train 80 at a
constant one."""

SMALL_FINDINGS = """The aim is met at 4.3 times fewer FLOPs, where SNAP-it is above both others by more than the seeds
differ. At 2.0 times fewer it equals narrow dense networks, and at 12.2 times fewer it is ahead of both by the means,
within the deviation of the seeds. At the same share of nodes SNAP-it is 3 to 5 points above random nodes, but it also
keeps 1.5 to 1.8 times the FLOPs, which explains most of that lead.

What limits it: 782 steps at 16x16 pixels, where no network is trained to the end. Scores, schedule and learning rate
were not varied."""

HOURS = """Not run: at the 72 GFLOP/s that ResNet20 reached in bfloat16 on one core, by count of FLOPs, {}."""

TABLES = (
    Table(
        "resnet20-16px",
        "ResNet20 at 16x16 pixels: SNAP-it, random nodes, narrow dense networks",
        f"""{SMALL_WORDS.format(WHOLE)} `width` is a dense ResNet20 whose first stage has that many channels in place of
16. The aim: the accuracy of SNAP-it over FLOPs is above both other curves.""",
        _curve("resnet20", SMALL, SHORT, (12, 8, 5, 4)),
        curve=True,
        findings=SMALL_FINDINGS,
    ),
    Table(
        "conv6-16px",
        "Conv6 at 16x16 pixels: weights pruned before training, and robust accuracy",
        f"{SMALL_WORDS.format(HALF)} The attack is the preset `standard` on 100 test images.",
        _weights(
            "conv6", SMALL, SHORTER, "--prune-delay 40s --prune-every 40s", "-a standard -n 100 --eps 1/255,2/255"
        ),
        findings="Not run: the time went into ResNet20.",
    ),
    Table(
        "vgg16",
        "VGG16: SNAP-it before training",
        LONG_WORDS.format(30),
        _vgg16(),
        findings=HOURS.format("dense takes 13 hours"),
    ),
    Table(
        "resnet18",
        "ResNet18: SNIP-it before and during training",
        LONG_WORDS.format(40),
        _resnet18(),
        findings=f"""{HOURS.format("a run takes 1.8 hours")} One seed of most rows with the authors' settings, on a
GPU, is in [CRITERIA](CRITERIA.md): 0.2 points below dense during training, 4.4 before.""",
    ),
    Table(
        "resnet20",
        "ResNet20: SNAP-it, random nodes, narrow dense networks",
        LONG_WORDS.format(30),
        _curve("resnet20", DATA, "--epochs 30 --sched onecycle", (12, 8, 5, 4)),
        curve=True,
        findings=HOURS.format("dense takes 1.4 hours"),
    ),
    Table(
        "resnet18-nodes",
        "ResNet18: SNAP-it and random nodes",
        f"{LONG_WORDS.format(40)} The program has no narrow dense ResNet18.",
        _curve("resnet18", DATA, "-b 512 --epochs 40 --sched onecycle", ()),
        curve=True,
        findings=HOURS.format("dense takes 1.8 hours"),
    ),
    Table(
        "conv6",
        "Conv6: weights pruned before training, and robust accuracy",
        f"{LONG_WORDS.format(30)} The attack is the preset `standard` on 500 test images.",
        _weights("conv6", DATA, "-b 512 --epochs 30 --sched onecycle", "--rewind-to 2", ROBUST),
        findings=HOURS.format("a run takes 5.5 hours without the attack"),
    ),
)
