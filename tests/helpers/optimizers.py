"""An optimiser of someone's own."""

import torch


class Slowing(torch.optim.Optimizer):
    """Gradient descent whose steps get smaller; it counts them as a plain number, as older optimisers do."""

    def __init__(self, params, lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state[parameter]
                    state["step"] = state.get("step", 0) + 1
                    parameter.sub_(group["lr"] / state["step"] * parameter.grad)


class Remembering(Slowing):
    """Keeps what no file of tensors and numbers holds."""

    @torch.no_grad()
    def step(self, closure=None) -> None:
        super().step(closure)
        for state in self.state.values():
            state["seen"] = [1]
