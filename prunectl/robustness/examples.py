"""Collects adversarial examples: the images, and a grid of pictures."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_CELL, _TEXT, _GAP = 96, 16, 8
"""Pixels: the height and width of a picture, of a line of text, and between pictures."""
_TIMES = 10
_IMAGES, _LABELS = ("clean", "adversarial"), ("label", "clean_prediction", "adversarial_prediction")


class Examples:
    """The first `wanted` images turned at the largest eps, collected batch by batch."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.parts: list[dict[str, Tensor]] = []

    def __len__(self) -> int:
        return sum(len(part["label"]) for part in self.parts)

    def add(self, clean: Tensor, adversarial: Tensor, labels: Tensor, before: Tensor, after: Tensor) -> None:
        """Add examples of a batch until enough are collected: images (B, C, H, W), labels and predictions (B,)."""
        chosen = ((before == labels) & (after != labels)).nonzero()[: self.wanted - len(self), 0]
        if len(chosen):
            kinds = {
                "clean": clean,
                "adversarial": adversarial,
                "label": labels,
                "clean_prediction": before,
                "adversarial_prediction": after,
            }
            self.parts.append({name: tensor[chosen].cpu() for name, tensor in kinds.items()})

    def take(self, more: "Examples") -> None:
        """Add others until enough are collected."""
        for part in more.parts:
            left = self.wanted - len(self)
            if left > 0:
                self.parts.append({name: tensor[:left] for name, tensor in part.items()})

    def text(self, part: dict[str, Tensor]) -> str:
        """The examples of one batch, as text for the file of an interrupted attack."""
        from safetensors.torch import save  # noqa: PLC0415

        return base64.b64encode(save({name: tensor.contiguous() for name, tensor in part.items()})).decode()

    def take_up_(self, text: str, shape: tuple[int, int, int], classes: int) -> None:
        """Add the examples in a result of `text`, which may come from a stranger.

        Raises:
            ValueError, TypeError: it holds no examples with this shape (C, H, W) and these classes.
        """
        from safetensors import SafetensorError  # noqa: PLC0415
        from safetensors.torch import load  # noqa: PLC0415

        try:
            part = load(base64.b64decode(text))
        except SafetensorError as error:
            raise ValueError(str(error)) from error
        if part.keys() != {*_IMAGES, *_LABELS}:
            raise ValueError("other tensors")
        count = len(part["label"])
        for name, tensor in part.items():
            wanted = (count, *shape) if name in _IMAGES else (count,)
            dtype = torch.float32 if name in _IMAGES else torch.int64
            if tuple(tensor.shape) != wanted or tensor.dtype != dtype:
                raise ValueError(f"{name} has the wrong shape or type")
            if name in _LABELS and count and not 0 <= int(tensor.min()) <= int(tensor.max()) < classes:
                raise ValueError(f"{name} is not a class")
        self.parts.append(part)

    def tensors(self) -> dict[str, Tensor]:
        """All examples: `clean` and `adversarial` float32 (N, C, H, W) in [0, 1], labels and predictions int64 (N,)."""
        return {name: torch.cat([part[name] for part in self.parts]).contiguous() for name in self.parts[0]}

    def safetensors(self, about: dict[str, Any]) -> bytes:
        """The tensors as a file; `about` becomes its metadata, as texts."""
        from safetensors.torch import save  # noqa: PLC0415

        from prunectl.checkpoints.files import with_metadata  # noqa: PLC0415

        return with_metadata(save(self.tensors()), {key: str(value) for key, value in about.items()})

    def png(self, classes: Sequence[str]) -> bytes:
        """A picture with one row per image: clean, adversarial, and ten times the difference around grey."""
        from PIL import Image, ImageDraw  # noqa: PLC0415

        found = self.tensors()
        difference = (0.5 + _TIMES * (found["adversarial"] - found["clean"])).clamp(0, 1)
        columns = [("clean", found["clean"]), ("adversarial", found["adversarial"]), (f"x {_TIMES}", difference)]
        width = len(columns) * (_CELL + _GAP) + _GAP
        row = _CELL + _TEXT + _GAP
        sheet = Image.new("RGB", (width, _TEXT + 2 * _GAP + len(self) * row), "white")
        draw = ImageDraw.Draw(sheet)
        for place, (title, images) in enumerate(columns):
            left = _GAP + place * (_CELL + _GAP)
            draw.text((left, _GAP), title, fill="black")
            for i, image in enumerate(images):
                sheet.paste(_picture(image), (left, _TEXT + 2 * _GAP + i * row))
        for i in range(len(self)):
            below = _TEXT + 2 * _GAP + i * row + _CELL + 2
            for place, key in enumerate(("clean_prediction", "adversarial_prediction")):
                text = classes[int(found[key][i])][: _CELL // 7]
                draw.text((_GAP + place * (_CELL + _GAP), below), text, fill="black" if place == 0 else "#b00020")
        data = io.BytesIO()
        sheet.save(data, format="PNG")
        return data.getvalue()


def _picture(image: Tensor) -> Any:
    """One image (C, H, W) in [0, 1] in the size of a cell; more than three channels are averaged."""
    from PIL import Image  # noqa: PLC0415

    shown = image if image.shape[0] in (1, 3) else image.mean(0, keepdim=True)
    pixels = (255 * shown).round().to(torch.uint8).expand(3, -1, -1).permute(1, 2, 0).contiguous()
    return Image.fromarray(pixels.numpy()).resize((_CELL, _CELL), Image.Resampling.NEAREST)
