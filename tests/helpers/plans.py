"""A plan of a sweep, and its stages."""

from prunectl.cli import in_process
from prunectl.sweeping.plan import read_plan
from prunectl.sweeping.stages import stages_of

PLAN = """
[grid]
net = "--model mlp5 -M hidden=8 --device cpu"
criterion = "magnitude"
sparsity = [0.5, 0.75]
seed = [0, 1]

[pipelines]
dense = "train {net} --epochs 1 --subset 100 --seed {seed} | eval --no-latency"
after = '''train {net} --epochs 1 --subset 100 --seed {seed}
           | prunectl prune -c {criterion} -s {sparsity} --seed {seed} --device cpu
           | eval --no-latency'''

[pipelines.during]
criterion = ["snipit-during"]
run = "train {net} --epochs 4 --subset 100 -c {criterion} -s 0.5 --prune-delay 0 --prune-every 1 --steps 1"
"""
# dense: 2 trainings, 2 evaluations; after: 4 prunings, 4 evaluations; during: 1 training
STAGES = 13
NET = {"net": "--model mlp5 -M hidden=8 --device cpu"}


def stages(text: str) -> dict[str, str]:
    """Names and identities of the stages of a plan."""
    return {stage.name: stage.identity for stage in stages_of(read_plan(text), in_process.read)[0]}
