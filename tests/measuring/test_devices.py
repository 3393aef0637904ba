"""The library runs end to end on every device; with `-m gpu` on cuda too."""

import pytest
import torch

from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.criteria.base.criterion import criterion_named
from prunectl.data.load import load_data
from prunectl.measuring.evaluate import evaluate
from prunectl.models.fresh import fresh
from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from prunectl.robustness.attack import attack
from prunectl.scores import highest
from prunectl.structure.count import count_cut_off
from prunectl.structure.trace import trace
from prunectl.training.recipe import Recipe
from prunectl.training.train import train
from prunectl.training.trainer import Trainer
from tests.helpers.marks import quick

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "criterion",
    quick(["snipit", "magnitude", "random", "snapit", "cnipit", "efficient-convnets"], ["efficient-convnets"]),
)
def test_the_whole_way(device: str, criterion: str) -> None:
    where, data = torch.device(device), load_data("digits").subset(200, 0)
    begun = fresh("lenet5", data, source="digits").to(where)
    pruned = prune(begun, data, criterion=criterion, sparsity=0.8)
    recipe = Recipe(epochs=2, sched="cosine", clip=5.0, ema=0.9, augment=("flip", "crop"), amp=device == "cuda")
    trained = train(pruned, data, recipe)
    counts = trained.dense
    if criterion_named(criterion).unit == "nodes":
        assert count_cut_off(trained.model, begun.spec.input, trained.masks) == round(0.8 * counts.nodes)
    else:
        assert trained.masks.kept(trained.model) == counts.weights - round(0.8 * counts.weights)
    small = shrink(trained)
    before, after = (evaluate(c, data, with_latency=criterion == "snipit") for c in (trained, small))
    assert before["confusion"] == after["confusion"]
    if criterion_named(criterion).unit == "nodes":
        assert after["parameters"] == pruned.history[-1].result["parameters"] < 0.2 * counts.parameters
    assert before["device"].startswith(device)
    for checkpoint in (trained, small):
        record = attack(checkpoint, data, attack="fgsm", eps=[8 / 255], n=64)
        assert 0 <= record["results"][0]["robust_accuracy"] <= record["clean_accuracy"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("keep", [0, 1, 499, 500, 999, 1000])
def test_the_highest_are_those_of_a_stable_sort(keep: int, device: str) -> None:
    row = torch.randn(1000, generator=torch.Generator().manual_seed(0)).round(decimals=1)  # with many ties
    row[::7] = -torch.inf
    expected = torch.zeros(1000, dtype=torch.bool)
    expected[row.argsort(descending=True, stable=True)[:keep]] = True
    assert torch.equal(highest(row.to(device), keep).cpu(), expected)


@pytest.mark.gpu
def test_a_gpu_prunes_the_same_weights_and_resumes() -> None:
    data = load_data("digits")
    begun = fresh("lenet5", data, source="digits")
    on_cpu = prune(begun, data, criterion="random", sparsity=0.9)
    on_gpu = prune(begun.to(torch.device("cuda")), data, criterion="random", sparsity=0.9)
    assert all(torch.equal(on_gpu.masks[name].cpu(), mask) for name, mask in on_cpu.masks.items())
    trainer = Trainer(on_gpu, data, Recipe(epochs=2))
    steps = trainer.steps()
    next(steps)
    resumed = Trainer(on_gpu, data, Recipe(epochs=2), trainer.state())
    assert sum(1 for _ in resumed.steps()) == trainer.total_steps - 1


@pytest.mark.gpu
@pytest.mark.parametrize("criterion", ["imp", "rigl", "set", "l0", "gate-decorators", "group-hoyer-square", "gmp"])
def test_a_gpu_prunes_while_it_trains(criterion: str) -> None:
    data = load_data("digits").subset(500, 0)
    begun = fresh("lenet5", data, source="digits").to(torch.device("cuda"))
    during = GradualPruning(criterion, 0.6, prune_delay=1, prune_every=1, steps=2)
    trained = train(begun, data, Recipe(epochs=4, amp=True, ema=0.9, sched="onecycle", prune=during))
    unit = criterion_named(criterion).unit.removesuffix("s")
    total = trained.dense.nodes if unit == "node" else trained.dense.weights
    assert round(trained.history[-1].result[f"{unit}_sparsity"] * total) == round(0.6 * total)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:The PyTorch API of SparseSemiStructuredTensor is in prototype stage")
def test_two_of_four_is_a_pattern_of_sparse_tensor_cores() -> None:
    data = load_data("digits")
    pruned = prune(fresh("mlp5", data, source="digits"), None, criterion="n:m").to(torch.device("cuda"))
    layers = [m for m in pruned.model.modules() if isinstance(m, torch.nn.Linear) and m.weight.shape == (512, 512)]
    assert len(layers) == 3
    for layer in layers:
        weight = layer.weight.detach().half()
        packed = torch.sparse.to_sparse_semi_structured(weight)
        assert torch.equal(packed.to_dense(), weight)


@pytest.mark.slow
def test_a_compiled_training_learns() -> None:
    data = load_data("digits")
    trained = train(fresh("lenet300", data, source="digits"), data, Recipe(epochs=2, compile=True))
    assert evaluate(trained, data, with_latency=False)["accuracy"] > 0.8


@pytest.mark.parametrize("criterion", ["snip", "grasp", "snap"])
def test_scores_and_measures_are_of_full_float32(criterion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, precisions = load_data("digits").subset(100, 0), set()
    convolve = torch.nn.functional.conv2d
    before = torch.backends.cudnn.conv.fp32_precision

    def watched(*arguments: object) -> torch.Tensor:
        if isinstance(arguments[0], torch.Tensor) and not arguments[0].is_meta and type(arguments[0]) is torch.Tensor:
            precisions.add(torch.backends.cudnn.conv.fp32_precision)
        return convolve(*arguments)

    begun = fresh("lenet5", data, source="digits")
    monkeypatch.setattr(torch.nn.functional, "conv2d", watched)
    method = criterion_named(criterion)
    batches = iter([(begun.preprocessing(data.train.pixels), data.train.labels)])
    more = (trace(begun.model, begun.spec.input),) if method.unit == "nodes" else ()
    precisions.clear()
    method.scorer(begun.model, batches, *more, batches=1)
    assert precisions == {"none"}  # of all precisions the highest
    precisions.clear()
    evaluate(begun, data, with_latency=False)
    attack(begun, data, attack="fgsm", eps=[8 / 255], n=16)
    assert precisions == {"none"}  # of all precisions the highest
    assert torch.backends.cudnn.conv.fp32_precision == before == "tf32"
