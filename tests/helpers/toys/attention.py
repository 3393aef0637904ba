"""Networks with attention, each as some library writes it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.helpers.toys.parts import CLASSES, SHAPE, Patches, Toy, Toys


class Tokens(nn.Module):
    """A vision transformer: class token, position embedding, `block`, the class token to the head."""

    def __init__(self, block: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.proj = nn.Conv2d(SHAPE[0], width, 4, stride=4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.randn(1, 5, width) * 0.02)
        self.block, self.norm, self.head = block, nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1) + self.pos_embed
        return self.head(self.norm(self.block(x))[:, 0])


class Block(nn.Module):
    def __init__(self, attention: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), attention
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Multihead(nn.Module):
    def __init__(self, width: int, heads: int, batch_first: bool = True) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=batch_first)

    def forward(self, x: Tensor) -> Tensor:
        if not self.attention.batch_first:
            x = x.transpose(0, 1)
        x, _ = self.attention(x, x, x, need_weights=False)
        return x if self.attention.batch_first else x.transpose(0, 1)


class FusedSdpa(nn.Module):
    """timm: sizes from attributes, F.scaled_dot_product_attention with its default scale."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, dim // num_heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(b, n, c))


class FusedSoftmax(nn.Module):
    """torchvision's Swin, BEiT: sizes and scale from the input's shape, a softmax by hand, a bias a head."""

    def __init__(self, dim: int, num_heads: int, tokens: int = 5) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.table = nn.Parameter(torch.zeros(2 * tokens - 1, num_heads))
        index = torch.arange(tokens)[:, None] - torch.arange(tokens)[None, :] + tokens - 1
        self.register_buffer("index", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias, requires_grad=False), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias)
        qkv = qkv.reshape(B, N, 3, self.num_heads, C // self.num_heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        q = q * (C // self.num_heads) ** -0.5
        attn = q.matmul(k.transpose(-2, -1))
        attn = attn + self.table[self.index.view(-1)].view(N, N, -1).permute(2, 0, 1).unsqueeze(0)
        attn = F.dropout(attn.softmax(dim=-1), 0.0, self.training)
        return self.proj(attn.matmul(v).transpose(1, 2).reshape(B, N, C))


class SplitHeads(nn.Module):
    """Apart q, k, v with other widths for keys and values, the scale kept as an attribute."""

    def __init__(self, dim: int, heads: int, key: int, value: int) -> None:
        super().__init__()
        self.heads, self.key, self.scale = heads, key, key**-0.5
        self.q, self.k = nn.Linear(dim, heads * key), nn.Linear(dim, heads * key)
        self.v, self.out = nn.Linear(dim, heads * value), nn.Linear(heads * value, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q = self.q(x).view(b, n, self.heads, self.key).transpose(1, 2)
        k = self.k(x).view(b, n, self.heads, self.key).permute(0, 2, 3, 1)
        v = self.v(x).view(b, n, self.heads, -1).transpose(1, 2)
        attn = (q @ k * self.scale).softmax(-1)
        return self.out((attn @ v).transpose(1, 2).reshape(b, n, -1))


class GroupedQuery(nn.Module):
    """Fewer heads of keys and values than of queries, and norms over each head's width (Llama, Qwen)."""

    def __init__(self, dim: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, dim // heads
        self.q_proj = nn.Linear(dim, heads * self.head_dim, bias=False)
        self.kv_proj = nn.Linear(dim, 2 * kv_heads * self.head_dim, bias=False)
        self.q_norm, self.k_norm = nn.RMSNorm(self.head_dim, eps=1e-6), nn.RMSNorm(self.head_dim, eps=1e-6)
        self.o_proj = nn.Linear(heads * self.head_dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(b, n, self.heads, self.head_dim)).transpose(1, 2)
        k, v = self.kv_proj(x).view(b, n, 2, self.kv_heads, self.head_dim).unbind(2)
        k, v = self.k_norm(k).transpose(1, 2), v.transpose(1, 2)
        k = k.repeat_interleave(self.heads // self.kv_heads, dim=1)
        v = v[:, :, None].expand(b, self.kv_heads, self.heads // self.kv_heads, n, -1).reshape(b, self.heads, n, -1)
        x = F.scaled_dot_product_attention(q, k, v, dropout_p=0.0)
        return self.o_proj(x.transpose(1, 2).reshape(b, n, -1))


class GroupedQuerySdpa(GroupedQuery):
    """The same by the argument `enable_gqa`."""

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q = self.q_norm(self.q_proj(x).unflatten(-1, (self.heads, -1))).transpose(1, 2)
        k, v = self.kv_proj(x).view(b, n, 2, self.kv_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, self.k_norm(k), v, enable_gqa=True)
        return self.o_proj(x.transpose(1, 2).flatten(2))


class Rotary(nn.Module):
    """Rotary position embedding, pairs side by side, over even and odd channels (EVA02)."""

    def __init__(self, dim: int, heads: int, tokens: int = 5) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        angle = (torch.arange(tokens)[:, None] * 0.3).expand(tokens, dim // heads)
        self.register_buffer("sin", angle.sin(), persistent=False)
        self.register_buffer("cos", angle.cos(), persistent=False)

    def rotate(self, x: Tensor) -> Tensor:
        turned = torch.stack([-x[..., 1::2], x[..., ::2]], -1).reshape(x.shape)
        return x * self.cos + turned * self.sin

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v)
        return self.proj(x.transpose(1, 2).reshape(b, n, c))


class LinearAttention(nn.Module):
    """EfficientViT: no softmax, keys times values first, on (B, C, H, W)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.dim = dim // heads
        self.qkv, self.proj = nn.Conv2d(dim, 3 * dim, 1, bias=False), nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        B, _, H, W = x.shape
        qkv = self.qkv(x).reshape(B, -1, 3 * self.dim, H * W).transpose(-1, -2)
        q, k, v = qkv.chunk(3, dim=-1)
        q, k = F.relu(q), F.relu(k)
        v = F.pad(v, (0, 1), mode="constant", value=1.0)
        out = q @ (k.transpose(-1, -2) @ v)
        out = out[..., :-1] / (out[..., -1:] + 1e-6)
        return x + self.proj(out.transpose(-1, -2).reshape(B, -1, H, W))


class CrossCovariance(nn.Module):
    """XCiT: attention between channels, queries and keys normalised over the tokens, a temperature a head."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 4, 1).unbind(0)
        attn = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * self.temperature
        x = attn.softmax(dim=-1) @ v
        return self.proj(x.permute(0, 3, 1, 2).reshape(b, n, c))


class SwiGlu(nn.Module):
    """SwiGLU with one fused layer."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.w12, self.w3 = nn.Linear(dim, 2 * inner), nn.Linear(inner, dim)

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = self.w12(x).chunk(2, dim=-1)
        return self.w3(F.silu(x1) * x2)


class AttentionPool(nn.Module):
    """A learned query over the tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(width) * 0.1)
        self.key = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.key(x) @ self.query, dim=1)  # (B, N)
        return torch.bmm(weights.unsqueeze(1), x)


class Positions(nn.Module):
    """A table of positions as a module, before a linear layer."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.table, self.fc = nn.Embedding(tokens, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:  # (B, tokens, width)
        return self.fc(x + self.table(torch.arange(x.shape[1], device=x.device)))


TOYS: Toys = {
    "class-token": (lambda: Tokens(nn.Linear(8, 8)), SHAPE),
    "multihead-attention": (lambda: Tokens(Block(Multihead(8, 2))), SHAPE),
    "multihead-sequence-first": (lambda: Tokens(Block(Multihead(8, 2, batch_first=False))), SHAPE),
    "encoder-layer": (
        lambda: Tokens(nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True, norm_first=True)),
        SHAPE,
    ),
    "attention-fused-sdpa": (lambda: Tokens(Block(FusedSdpa(8, 2))), SHAPE),
    "attention-fused-softmax": (lambda: Tokens(Block(FusedSoftmax(8, 2))), SHAPE),
    "attention-apart": (lambda: Tokens(Block(SplitHeads(8, 2, 3, 5))), SHAPE),
    "grouped-query": (lambda: Tokens(Block(GroupedQuery(8, 4, 2))), SHAPE),
    "grouped-query-sdpa": (lambda: Tokens(Block(GroupedQuerySdpa(8, 4, 2))), SHAPE),
    "rotary": (lambda: Tokens(Block(Rotary(8, 2))), SHAPE),
    "linear-attention": (lambda: Toy(LinearAttention(8, 2)), SHAPE),
    "cross-covariance": (lambda: Tokens(Block(CrossCovariance(8, 2))), SHAPE),
    "gated-mlp": (lambda: Patches(SwiGlu(8, 6)), SHAPE),
    "embedded-positions": (lambda: Patches(Positions(16, 8)), SHAPE),
    "attention-pool": (lambda: Patches(AttentionPool(8)), SHAPE),
}
