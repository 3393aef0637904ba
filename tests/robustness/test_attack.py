"""Robust accuracy is measured over all images, in the worst case, and the network comes back as it was."""

import inspect
import json

import pytest
import torch
from torch import nn

import prunectl
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.images import ImageData
from prunectl.errors import CheckpointError, DataError, OptionError, UnknownName
from prunectl.plugins.registry import TABLES, resolve
from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from prunectl.robustness.attack import Attacker, attack
from prunectl.robustness.methods import largest, methods
from prunectl.robustness.tally import Tally
from prunectl.training.recipe import Recipe
from prunectl.training.train import train
from tests.helpers.marks import one_in
from tests.helpers.networks import checkpoint_of, image_data
from tests.helpers.one_pixel import SHAPE, pixels, threshold


@pytest.fixture(scope="module")
def threes() -> Checkpoint:
    """A network of three classes that is right on most of `image_data()`."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    return train(checkpoint_of(model, (1, 8, 8)), image_data(), Recipe(epochs=20, batch_size=20))


@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd-ce", "linf-deepfool", "square", "standard", "fgsm,pgd"])
def test_robust_accuracy_on_a_network_whose_margins_are_known(name: str) -> None:
    checkpoint = checkpoint_of(threshold(), SHAPE, 2)
    options = {"queries": "200"} if name in ("square", "standard") else {}
    record = attack(checkpoint, pixels(), attack=name, eps=[0.3, 0.05, 0.15, 0.45], options=options)
    assert record["clean_accuracy"] == 0.75
    assert [r["eps"] for r in record["results"]] == [0.05, 0.15, 0.3, 0.45]
    assert [r["robust_accuracy"] for r in record["results"]] == [0.75, 0.5, 0.25, 0.0]
    assert [r["success"] for r in record["results"]] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert record["norm"] == "linf"
    assert record["warnings"] == []


@pytest.mark.parametrize("name", ["l2-fgsm", "l2-pgd", "l2-apgd-ce", "deepfool", "l2-square", "ddn"])
def test_with_one_pixel_every_norm_is_the_same(name: str) -> None:
    options = {"queries": "200"} if name == "l2-square" else {}
    checkpoint = checkpoint_of(threshold(), SHAPE, 2)
    record = attack(checkpoint, pixels(), attack=name, eps=[0.05, 0.15, 0.3, 0.45], options=options)
    assert [r["robust_accuracy"] for r in record["results"]] == [0.75, 0.5, 0.25, 0.0]
    assert record["norm"] == "l2"


def test_a_preset_goes_on_with_what_stands_and_a_list_tries_every_image() -> None:
    checkpoint = checkpoint_of(threshold(), SHAPE, 2)
    cascade = attack(checkpoint, pixels(), attack="quick", eps=[0.15, 0.3])["results"]
    each = attack(checkpoint, pixels(), attack="fgsm,pgd", eps=[0.15, 0.3])["results"]
    # fgsm turns two of three at 0.3, which it tries again at 0.15, and one there; pgd tries the third at 0.3, where it
    # fails, and not in the smaller ball, but the one that fgsm left there
    assert [[one["tried"] for one in r["attacks"].values()] for r in cascade] == [[2, 1], [3, 1]]
    assert [[one["tried"] for one in r["attacks"].values()] for r in each] == [[3, 3], [3, 3]]
    assert [r["robust_accuracy"] for r in cascade] == [r["robust_accuracy"] for r in each] == [0.5, 0.25]


def test_the_worst_case_is_taken_image_by_image(threes: Checkpoint) -> None:
    record = attack(threes, image_data(), attack="fgsm,apgd-ce,linf-deepfool", eps=[0.05, 0.1, 0.2])
    for result in record["results"]:
        least = min(one["robust_accuracy"] for one in result["attacks"].values())
        assert result["robust_accuracy"] <= least <= record["clean_accuracy"]
    standard = attack(threes, image_data(), attack="standard", eps=[0.05, 0.1, 0.2], options={"queries": "100"})
    assert standard["attacks"] == ["linf-deepfool", "apgd-ce", "apgd-dlr", "square"]  # three classes: no apgd-t
    for ours, theirs in zip(standard["results"], record["results"], strict=True):
        assert ours["robust_accuracy"] <= theirs["robust_accuracy"]


def test_the_median_norm_of_a_minimal_attack_is_over_the_images_that_were_right() -> None:
    record = attack(checkpoint_of(threshold(), SHAPE, 2), pixels(), attack="deepfool", eps=[0.15])
    assert record["median_norm"] == {"deepfool": pytest.approx((127.5 - 77) / 255, rel=0.03)}
    assert "median_norm" not in attack(checkpoint_of(threshold(), SHAPE, 2), pixels(), attack="fgsm", eps=[0.15])


def test_targets() -> None:
    checkpoint, data = checkpoint_of(threshold(), SHAPE, 2), pixels()
    for target in ("1", "next", "random"):
        record = attack(checkpoint, data, attack="pgd", eps=[0.15, 0.45], target=target)
        assert record["attacked"] == 3
        assert [r["success"] for r in record["results"]] == pytest.approx([1 / 3, 1])
    only = attack(
        checkpoint, data, attack="GenAttack", eps=[0.45], target="next", options={"steps": "3"}
    )  # no other way
    assert only["attacked"] == 3
    none = attack(checkpoint, data, attack="pgd", eps=[0.45], target="0")  # all are of that class already
    assert (none["attacked"], none["results"][0]["success"], none["results"][0]["robust_accuracy"]) == (0, None, 0.75)
    with pytest.raises(OptionError, match=r"`target` must be next, random or a class \(0, 1\), got '2'"):
        attack(checkpoint, data, target="2")


def test_the_reference_is_compared_on_clean_images_and_on_the_worst_cases() -> None:
    # at 0.35 the reference calls the image at 102 / 255 = 0.4 class 1, too
    reference = checkpoint_of(threshold(0.35), SHAPE, 2)
    record = attack(checkpoint_of(threshold(), SHAPE, 2), pixels(), attack="fgsm", eps=[0.15], reference=reference)
    assert record["agreement"] == 0.75
    # worst cases: 0.1 and 0.3 stand as they were, 0.4 became 0.55; both networks agree on all
    assert record["results"][0]["agreement"] == 1.0


def test_transfer_tries_what_was_made_on_another_network() -> None:
    data = pixels()
    blind = checkpoint_of(threshold(), SHAPE, 2)
    with torch.no_grad():
        blind.model[1].weight.neg_()  # its gradient leads away from the threshold
    victim = checkpoint_of(threshold(), SHAPE, 2)
    assert attack(victim, data, attack="fgsm", eps=[0.45])["results"][0]["robust_accuracy"] == 0.0
    record = attack(victim, data, attack="fgsm", eps=[0.45], source=blind)
    assert record["results"][0]["robust_accuracy"] == 0.75
    assert attack(blind, data, attack="fgsm", eps=[0.45], source=victim)["clean_accuracy"] == 0.25


@pytest.mark.parametrize("name", ["apgd-ce", "apgd-dlr", "square"])
def test_what_fools_the_source_goes_on_to_the_end(name: str) -> None:
    """The source's border lies at 0.35: an image that stopped there would not cross that of the victim at 0.5."""
    data = pixels()
    three = checkpoint_of(nn.Sequential(nn.Flatten(), nn.Linear(1, 3)), SHAPE, 3)
    source = checkpoint_of(nn.Sequential(nn.Flatten(), nn.Linear(1, 3)), SHAPE, 3)
    with torch.no_grad():
        for network, at in ((three, 0.5), (source, 0.35)):
            network.model[1].weight.copy_(torch.tensor([[0.0], [1.0], [0.0]]))
            network.model[1].bias.copy_(torch.tensor([0.0, -(at - 0.5) / 0.25, -9.0]))
    wide = ImageData(data.name, data.train, data.test, ("0", "1", "2"), data.preprocessing)
    record = attack(
        three, wide, attack=name, eps=[0.25], source=source, options={"queries": "50"} if name == "square" else {}
    )
    assert record["results"][0]["robust_accuracy"] == 0.25  # only the one at 0.1 stands


class View(nn.Module):
    """A network that takes no empty batch."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = threshold()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Flatten as many networks do."""
        outputs: torch.Tensor = self.inner(images.view(len(images), -1).view(-1, 1, 1, 1))
        return outputs


@pytest.mark.parametrize("name", ["pgd", "deepfool", "ddn", "standard"])
def test_a_batch_without_anything_to_attack(name: str) -> None:
    options = {"queries": "5"} if name == "standard" else {}
    record = attack(checkpoint_of(View(), SHAPE, 2), pixels(), attack=name, eps=[0.15], batch_size=1, options=options)
    assert record["results"][0]["robust_accuracy"] == 0.5


def test_batches_and_n_change_nothing_but_the_images() -> None:
    checkpoint = checkpoint_of(threshold(), SHAPE, 2)
    whole = attack(checkpoint, pixels(), attack="fgsm", eps=[0.15])
    assert attack(checkpoint, pixels(), attack="fgsm", eps=[0.15], batch_size=1)["results"] == whole["results"]
    # images 0 and 2, whose distances from the threshold are .4 and .1
    spread = attack(checkpoint, pixels(), attack="fgsm", eps=[0.15], n=2)
    assert (spread["images"], spread["clean_accuracy"], spread["results"][0]["robust_accuracy"]) == (2, 1.0, 0.5)
    assert attack(checkpoint, pixels(), attack="fgsm", eps=[0.15], n=99)["results"] == whole["results"]


def test_going_on_after_some_batches_gives_the_same_record(threes: Checkpoint) -> None:
    def attacker() -> Attacker:
        return Attacker(threes, image_data(), attack="pgd,square", eps=[0.1], batch_size=7, options={"queries": "20"})

    whole, again, stopped = attacker(), attacker(), attacker()
    for _ in whole.batches():
        pass
    done = []
    batches = stopped.batches()
    for _ in range(2):
        part, _ = next(batches)
        done.append(Tally.read(json.loads(json.dumps(part.plain()))))
    batches.close()
    assert all(parameter.requires_grad for parameter in threes.model.parameters())
    for _ in again.batches(done):
        pass
    assert again.record()["results"] == whole.record()["results"]


def test_the_network_is_left_alone_and_the_seed_decides() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3)).train()
    model[3].bias.requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    checkpoint = checkpoint_of(model, (1, 8, 8))
    torch.manual_seed(2)
    expected = torch.rand(1)
    torch.manual_seed(2)
    how = {"attack": "quick", "eps": [0.02, 0.1], "options": {"steps": "5"}, "reference": checkpoint}
    one, two = (attack(checkpoint, image_data(), **how) for _ in "ab")
    assert one["results"] == two["results"]
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert model.training
    assert all(module.training for module in model)
    assert all(p.grad is None for p in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == [True] * 5 + [False]


FEW = {
    "carlini-wagner": {"steps": "20", "binary_search_steps": "2"},
    "ead": {"steps": "20", "binary_search_steps": "2"},
}


@pytest.mark.parametrize("name", one_in(3, TABLES["attack"]))
def test_every_attack_by_name_gives_the_masked_and_the_shrunk_network_the_same_numbers(
    name: str, threes: Checkpoint
) -> None:
    if "apgd-t" in name:
        with pytest.raises(OptionError, match=f"attack {name} needs at least 4 classes, the network has 3"):
            methods([name], None, {}, classes=3)
        return
    masked = prune(threes, image_data(), criterion="efficient-convnets", sparsity=0.25)
    known = inspect.signature(resolve("attack", name)).parameters
    options = {key: "5" for key in ("steps", "queries", "binary_search_steps") if key in known}
    eps = largest(methods([name], None, {}, classes=4)[0].norm, (1, 8, 8)) / 8
    records = [
        attack(network, image_data(), attack=name, n=12, options=options, eps=[eps])
        for network in (threes, masked, shrink(masked))
    ]
    for record in records:
        shares = [r["robust_accuracy"] for r in record["results"]]
        assert all(0 <= share <= record["clean_accuracy"] for share in shares)
    assert [r["robust_accuracy"] for r in records[1]["results"]] == [
        r["robust_accuracy"] for r in records[2]["results"]
    ]


def test_foolbox_classes_go_by_their_name_under_the_norm_that_is_asked_for(threes: Checkpoint) -> None:
    record = attack(threes, image_data(), attack="LInfFMNAttack,LinfBasicIterativeAttack", n=6)
    assert record["norm"] == "linf"
    assert record["attacks"] == ["LInfFMNAttack", "LinfBasicIterativeAttack"]
    assert attack(threes, image_data(), attack="InversionAttack", n=6, norm="linf")["norm"] == "linf"
    assert attack(threes, image_data(), attack="foolbox.attacks:InversionAttack", n=6)["norm"] == "l2"
    virtual = attack(threes, image_data(), attack="VirtualAdversarialAttack", n=6, options={"steps": "2"})
    assert virtual["norm"] == "l2"


def test_the_eps_of_other_norms_may_be_larger(threes: Checkpoint) -> None:
    record = attack(threes, image_data(), attack="L2FastGradientAttack", eps=[7.5, 2.0])
    assert [result["eps"] for result in record["results"]] == [2.0, 7.5]
    with pytest.raises(OptionError, match="eps of l2 attacks must be above 0 and at most 8 for these images, got inf"):
        attack(threes, image_data(), attack="L2FastGradientAttack", eps=[float("inf")])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"attack": "pdg"}, UnknownName, "no attack named 'pdg'; did you mean 'pgd'"),
        ({"eps": [0.0]}, OptionError, "eps of linf attacks must be above 0 and at most 1 for these images, got 0"),
        ({"eps": []}, OptionError, "got none"),
        ({"eps": [float("nan")]}, OptionError, "got nan"),
        ({"eps": [2.0]}, OptionError, "got 2; pixels are in .0, 1., use 8/255 for 8 grey levels"),
        ({"options": {"stepz": "4"}}, OptionError, "attack pgd has no option 'stepz'; its options: steps=40"),
        (
            {"options": {"steps": "many"}},
            OptionError,
            "option 'steps' of attack pgd takes a value of type int, such as 40",
        ),
        ({"n": 0}, DataError, "no test images to attack"),
        ({"options": {"steps": "0"}}, OptionError, "option 'steps' of attack pgd must be 1 or more, got 0"),
        (
            {"attack": "standard", "norm": "l1"},
            OptionError,
            "standard is for linf, l2; for l1, name attacks such as fmn",
        ),
        ({"attack": "fgsm", "target": "next"}, OptionError, "attack fgsm has no targeted form; use pgd or apgd-ce"),
        ({"attack": "l0-fmn", "eps": [0.5]}, OptionError, "eps of l0 attacks must be whole numbers of changed channel"),
        ({"attack": "pgd,linf-pgd"}, OptionError, "an attack is named twice: pgd, linf-pgd"),
    ],
)
def test_bad_input(changes: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        attack(checkpoint_of(threshold(), SHAPE, 2), pixels(), **{"attack": "pgd", **changes})


def test_a_network_whose_outputs_are_nan_is_refused() -> None:
    checkpoint = checkpoint_of(threshold(), SHAPE, 2)
    with torch.no_grad():
        checkpoint.model[1].weight.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="has NaN or infinite outputs on its images; train it again"):
        attack(checkpoint, pixels())


def test_standard_takes_no_options() -> None:
    with pytest.raises(
        OptionError, match="standard has no options, so that its results are comparable, got steps; use quick"
    ):
        prunectl.attack(checkpoint_of(threshold(), SHAPE, 2), pixels(), attack="standard", options={"steps": 10})


def test_test_images_of_a_network_that_held_others_out_are_said() -> None:
    """A choice made on them would be made on what the final number is measured on."""
    torch.manual_seed(0)
    data = image_data(40)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    tuned = prunectl.train(checkpoint_of(model, (1, 8, 8)), data.tuning(), epochs=1)
    whole = prunectl.train(tuned, data, epochs=1)
    records = {
        "eval": lambda network, images: prunectl.evaluate(network, images, latency=False),
        "attack": lambda network, images: attack(network, images, attack="fgsm", eps=[0.1], n=4),
        "corrupt": lambda network, images: prunectl.corrupt(network, images, corruptions=["contrast"], n=4),
    }
    for measure in records.values():
        said = measure(tuned, data)["warnings"]
        assert any("these are the test images, but the network was trained with --tuning" in text for text in said)
        for network, images in ((tuned, data.tuning()), (whole, data)):
            assert not any("test images" in text for text in measure(network, images).get("warnings", []))
