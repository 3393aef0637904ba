"""Modules that replace others in a shrunk network, with the same parameter names."""

import operator
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from prunectl.structure import width_norms


class WideNorm(nn.Module):
    """A normalisation with statistics over `width` channels, where removed ones count as zero."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, norm: nn.Module, width: int) -> None:
        super().__init__()
        self.width, self.eps = width, norm.eps
        self.register_parameter("weight", getattr(norm, "weight", None))
        self.register_parameter("bias", getattr(norm, "bias", None))
        self.train(norm.training)

    def extra_repr(self) -> str:
        """The text of the module in a printed network."""
        return f"width={self.width}, eps={self.eps}"


class WideLayerNorm(WideNorm):
    """Layer normalisation over the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to the same shape."""
        return width_norms.layer_norm(x, (-1,), self.width, self.weight, self.bias, self.eps)  # type: ignore[arg-type]


class WideLayerNorm2d(WideNorm):
    """Layer normalisation over the channels of images."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        y = width_norms.layer_norm(x.permute(0, 2, 3, 1), (-1,), self.width, self.weight, self.bias, self.eps)  # type: ignore[arg-type]
        return y.permute(0, 3, 1, 2)


class WideRMSNorm(WideNorm):
    """Root mean square normalisation over the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to the same shape."""
        return width_norms.rms_norm(x, (-1,), self.width, self.weight, self.eps)  # type: ignore[arg-type]


class WideGroupNorm(WideNorm):
    """Group normalisation, whose groups held `width` channels each."""

    def __init__(self, norm: nn.GroupNorm, width: int) -> None:
        super().__init__(norm, width)
        self.groups = norm.num_groups

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, ...) to the same shape."""
        return width_norms.group_norm(x, self.groups, self.width, self.weight, self.bias, self.eps)  # type: ignore[arg-type]


class Attention(nn.Module):
    """nn.MultiheadAttention for self-attention, with heads of any width.

    The scale of the products stays that of the original head width.
    """

    def __init__(self, attention: nn.MultiheadAttention, scale: float) -> None:
        super().__init__()
        self.num_heads, self.scale = attention.num_heads, scale
        self.batch_first, self.dropout = attention.batch_first, attention.dropout
        self._qkv_same_embed_dim = False  # keeps torch's encoder layers from using their fused kernel
        self.in_proj_weight, self.in_proj_bias = attention.in_proj_weight, attention.in_proj_bias
        self.out_proj = attention.out_proj
        self.train(attention.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, None]:
        """Map (B, N, E), or (N, B, E) if the batch is not first, to the same shape; no weights are returned."""
        if key_padding_mask is not None:
            raise NotImplementedError("a shrunk attention layer takes no key_padding_mask")
        parts = functional.linear(query, self.in_proj_weight, self.in_proj_bias)
        if not self.batch_first:
            parts = parts.transpose(0, 1)
        batch, length, _ = parts.shape
        q, k, v = parts.view(batch, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)  # (B, heads, N, width)
        dropout = self.dropout if self.training else 0.0
        out = functional.scaled_dot_product_attention(
            q, k, v, attn_mask, dropout, is_causal and attn_mask is None, scale=self.scale
        )
        out = out.transpose(1, 2).reshape(batch, length, -1)
        out = self.out_proj(out if self.batch_first else out.transpose(0, 1))
        return out, None


SWAPS: dict[str, Callable[..., nn.Module]] = {
    "layer_norm": WideLayerNorm,
    "layer_norm_2d": WideLayerNorm2d,
    "rms_norm": WideRMSNorm,
    "group_norm": WideGroupNorm,
    "attention": Attention,
}
NORMS = {"LayerNorm": "layer_norm", "LayerNorm2d": "layer_norm_2d", "RMSNorm": "rms_norm", "GroupNorm": "group_norm"}
"""Replacements of norms by class name; this also works for other libraries' classes with the same name."""


def apply_edits_(model: nn.Module, edits: tuple[dict[str, Any], ...]) -> None:
    """Apply recorded edits: `{"module", "attribute", "value"}` sets a size, `{"module", "swap", ...}` swaps a module.

    They may come from a stranger's file, so an edit can only set sizes: attributes that are whole numbers, to numbers
    that are no larger.

    Raises:
        KeyError: an unknown swap.
        AttributeError: no such module or size.
    """
    for edit in edits:
        if "attribute" in edit:
            _set_size_(model.get_submodule(edit["module"]), edit["attribute"], edit["value"])
        elif "swap" in edit:
            owner, _, leaf = edit["module"].rpartition(".")
            options = {key: value for key, value in edit.items() if key not in ("module", "swap")}
            swapped = SWAPS[edit["swap"]](model.get_submodule(edit["module"]), **options)
            setattr(model.get_submodule(owner), leaf, swapped)


def _set_size_(module: nn.Module, attribute: str, value: Any) -> None:
    of_class = None if hasattr(nn.Module, attribute) else getattr(type(module), attribute, None)
    old = vars(module).get(attribute, of_class)  # it may have the name of a method, such as `half`
    sizes, now, single = _sizes(old), _sizes(value), isinstance(old, int) == isinstance(value, int)
    if not sizes or not single or len(sizes) != len(now) or any(map(operator.gt, now, sizes)):
        raise AttributeError(f"'{attribute}' of a {type(module).__name__} is not a size that can become {value}")
    setattr(module, attribute, tuple(value) if isinstance(value, list) else value)


def _sizes(value: Any) -> list[int]:
    """One whole number or several as a list; empty for anything else."""
    listed = list(value) if isinstance(value, list | tuple) else [value]
    return listed if all(type(each) is int for each in listed) else []
