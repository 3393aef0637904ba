"""Random values for big networks that keep a signal of order 1 alive through a hundred layers."""

from functools import partial

import torch
from torch import Tensor, nn

EMBEDDED = ("pos", "cls", "token", "table", "rel_", "register", "query", "dist")
PLAIN = {kind.forward for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)}


def randomise_(model: nn.Module, seed: int = 0, shape: tuple[int, ...] | None = None) -> nn.Module:
    """Give every parameter and norm statistic a value that no default initialisation has; the seed decides them all.

    With the shape of an input (without the batch), a forward on noise fits layers and statistics to what they see: else
    what distinguishes images dies out in a deep network. Other buffers (filters, masks, tables) stay.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        for name, tensor in module.named_parameters(recurse=False):
            tensor.data.copy_(_parameter(module, name, tensor, generator))
        for name, tensor in module.named_buffers(recurse=False):
            if name.endswith("var"):
                tensor.copy_(_uniform(tensor, 0.5, 1.5, generator))
            elif name.endswith("mean"):
                tensor.copy_(_uniform(tensor, -0.2, 0.2, generator))
    if shape is not None:
        noise = torch.randn(4, *shape, generator=generator)
        _fit_(model, noise + torch.linspace(-1, 1, 4).view(4, *(1 for _ in shape)))  # darker and brighter images
    return model


def _parameter(module: nn.Module, name: str, tensor: Tensor, generator: torch.Generator) -> Tensor:
    if "bias" in name or name in ("beta", "mean"):
        return _uniform(tensor, -0.2, 0.2, generator)
    if tensor.numel() == max(tensor.shape, default=1) and not isinstance(module, nn.Linear | nn.Conv2d):
        return _uniform(tensor, 0.5, 1.5, generator) if _is_norm(module) else _uniform(tensor, 0.2, 0.6, generator)
    draw = torch.randn(tensor.shape, generator=generator).to(tensor)
    if isinstance(module, nn.Embedding) or any(word in name for word in EMBEDDED):
        return 0.2 * draw
    return draw * (tensor.numel() / tensor.shape[0]) ** -0.5


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower() or hasattr(module, "running_var")


def _uniform(tensor: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    return (low + (high - low) * torch.rand(tensor.shape, generator=generator)).to(tensor)


@torch.no_grad()
def _fit_(model: nn.Module, x: Tensor) -> None:
    """Scale each layer to outputs of deviation 1, and move each BatchNorm's statistics to those of its input."""
    mode, handles = model.training, []
    for module in model.modules():
        if hasattr(module, "running_var") and module.running_var is not None:
            handles.append(module.register_forward_pre_hook(_fit_statistics_))
        elif type(module).forward in PLAIN:
            handles.append(module.register_forward_hook(partial(_scale_, set())))
    first = next(model.parameters())
    model.eval()(x.to(first))
    model.train(mode)
    for handle in handles:
        handle.remove()


def _fit_statistics_(module: nn.Module, args: tuple[Tensor, ...]) -> None:
    var, mean = torch.var_mean(args[0], [i for i in range(args[0].ndim) if i != 1])
    var = 0.5 * var + 0.5 * var.mean() + 1e-3  # what hardly varies on a few images may do so on others
    module.running_mean.mul_(var.sqrt()).add_(mean)
    module.running_var.mul_(var)


def _scale_(seen: set[int], module: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> Tensor | None:
    scale = out.std()
    if seen or not scale > 1e-3:
        return None
    seen.add(1)  # a shared layer is scaled once
    module.weight.data /= scale
    if module.bias is not None:
        module.bias.data /= scale
    return out / scale
