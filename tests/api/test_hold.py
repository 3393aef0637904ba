"""Training loops of one's own: pruned weights stay at zero under any optimiser, and momentum does not revive them."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import prunectl
from prunectl.errors import OptionError
from tests.helpers.own_networks import Residual, loader

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-2),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01),
}


@pytest.fixture
def thin() -> prunectl.Checkpoint:
    torch.manual_seed(0)
    return prunectl.prune(Residual(), loader(), criterion="snip", sparsity=0.8)


def fit(model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int = 2) -> None:
    """A plain loop."""
    for _ in range(epochs):
        for images, labels in loader():
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            optimizer.step()


def moved(thin: prunectl.Checkpoint) -> int:
    """How many pruned weights are not zero."""
    return sum(int((thin.model.get_parameter(n)[~m] != 0).sum()) for n, m in thin.masks.items())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_pruned_weights_stay_at_zero_and_kept_ones_move(thin, name) -> None:
    before = copy.deepcopy(thin.model.state_dict())
    optimizer = OPTIMIZERS[name](thin.model.parameters())
    prunectl.hold(thin, optimizer)
    fit(thin.model.train(), optimizer)
    assert moved(thin) == 0
    kept = thin.masks["branch.weight"]
    assert (thin.model.branch.weight[kept] != before["branch.weight"][kept]).any()
    for name, mask in thin.masks.items():
        slots = optimizer.state[thin.model.get_parameter(name)].values()
        held = [slot for slot in slots if isinstance(slot, torch.Tensor) and slot.shape == mask.shape]
        assert not any(slot[~mask].any() for slot in held)


def test_without_hold_the_loop_would_revive_them(thin) -> None:
    optimizer = OPTIMIZERS["sgd"](thin.model.parameters())
    fit(thin.model.train(), optimizer)
    assert moved(thin) > 0


def test_momentum_from_before_is_forgotten_and_removal_lets_go(thin) -> None:
    optimizer = OPTIMIZERS["sgd"](thin.model.parameters())
    fit(thin.model.train(), optimizer, epochs=1)  # momentum of pruned weights, which also move
    thin.masks.apply_(thin.model)
    held = prunectl.hold(thin, optimizer)
    for parameter in thin.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    held.remove()
    optimizer.step()  # what momentum is left moves the weights now
    assert moved(thin) == 0
    fit(thin.model, optimizer, epochs=1)
    assert moved(thin) > 0


def test_an_optimizer_of_a_copy_is_refused(thin) -> None:
    optimizer = OPTIMIZERS["adam"](copy.deepcopy(thin.model).parameters())
    with pytest.raises(OptionError, match=r"create it from checkpoint\.model\.parameters\(\)"):
        prunectl.hold(thin, optimizer)


def test_an_optimizer_follows_a_shrink_with_its_momentum() -> None:
    torch.manual_seed(0)
    thin = prunectl.prune(Residual(), loader(), criterion="snap", sparsity=0.5)
    optimizer = OPTIMIZERS["adam"](thin.model.parameters())
    held = prunectl.hold(thin, optimizer)
    fit(thin.model.train(), optimizer, epochs=1)
    small = prunectl.shrink(thin)
    held.remove()
    prunectl.carry_(optimizer, thin, small)
    for parameter in small.model.parameters():
        assert optimizer.state[parameter]["exp_avg"].shape == parameter.shape
    before = copy.deepcopy(small.model.state_dict())
    fit(small.model, optimizer, epochs=1)
    assert not torch.equal(before["stem.weight"], small.model.stem.weight)


def lightning_module(thin: prunectl.Checkpoint) -> nn.Module:
    """The checkpoint's network in a trainer of the ecosystem, which takes seconds to import."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = thin.model

        def training_step(self, batch, index):
            images, labels = batch
            return functional.cross_entropy(self.net(images), labels)

        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.net.parameters(), lr=0.01)
            prunectl.hold(thin, optimizer)
            return optimizer

    return Module()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_lightning_trains_with_pruned_weights_at_zero(thin, tmp_path) -> None:
    import lightning

    before = copy.deepcopy(thin.model.state_dict())
    trainer = lightning.Trainer(
        max_epochs=2,
        log_every_n_steps=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(lightning_module(thin), loader())
    assert trainer.global_step == 6
    assert moved(thin) == 0
    assert not torch.equal(before["head.bias"], thin.model.head.bias)
