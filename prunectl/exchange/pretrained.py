"""Networks that start from the published weights of their library, for the user's own images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from prunectl.checkpoints.build import build, built_on_meta
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.header import ModelSpec
from prunectl.errors import OptionError
from prunectl.exchange.fetch import fetch_pretrained
from prunectl.exchange.hugging_face import describe
from prunectl.exchange.imported import from_state_dict
from prunectl.exchange.usage import Shape, Usage, configuration_of, published_weights
from prunectl.models.fresh import resize_of
from prunectl.plugins.registry import HUBS


@dataclass(frozen=True)
class Pretrained:
    """Published weights in the cache of their library; `name` is the network's name without its repository."""

    model: str
    name: str
    place: Path
    options: Mapping[str, str]
    usage: Usage
    weights: str | None = None

    def checkpoint(
        self, *, input: Shape | None, classes: int | None, names: Sequence[str], data: str, seed: int
    ) -> Checkpoint:
        """The network with these weights; its last layers are fresh if the weights are for other classes.

        Images are normalised as in the training of the weights. The history records the file and its sha256.

        Raises:
            OptionError, CheckpointError: the weights do not fit images of this shape.
        """
        taken = None if self.usage.mean is None else len(self.usage.mean)
        if input is not None and taken not in (None, input[0]):
            raise OptionError(f"the weights of {self.model} are for images of {taken} channels, got {input[0]}")
        count = classes or self.usage.classes
        made = from_state_dict(
            self.place,
            None if self.model.startswith(HUBS) else self.model,
            input=input,
            classes=count,
            names=names or None,
            options=self.options,
            weights=self.weights,
            allow_missing=self._head(input or self.usage.input, count),
            data=data,
            seed=seed,
        )
        entry = replace(made.history[0], options={"pretrained": self.model, **made.history[0].options})
        return replace(made, history=(entry,), resize=made.resize or resize_of(made.spec.input))

    def _head(self, shape: Shape | None, classes: int | None) -> list[str]:
        """The parameters whose shape depends on the number of classes; none if the weights are for that number."""
        if classes == self.usage.classes or None in (shape, classes, self.usage.classes):
            return []
        one, other = (self._shapes(shape, count) for count in (classes, self.usage.classes))  # type: ignore[arg-type]
        return [name for name, size in one.items() if other.get(name, size) != size]

    def _shapes(self, shape: Shape, classes: int) -> dict[str, tuple[int, ...]]:
        spec = ModelSpec(self.name, shape, classes, dict(self.options))
        made = built_on_meta(lambda: build(spec)) or build(spec)
        return {name: tuple(t.shape) for name, t in made.state_dict().items() if isinstance(t, Tensor)}


def fetched(model: str, options: Mapping[str, str]) -> Pretrained:
    """Fetch the published weights of `model`: `torchvision/NAME`, `timm/NAME`, `timm/hf-hub:OWNER/NAME`.

    `timm/local-dir:FOLDER` reads a local folder and fetches nothing. `options` are passed to the network's builder.

    Raises:
        OptionError: no published weights of it are known.
        FileError: they cannot be fetched; the message says what to check.
    """
    place = fetch_pretrained(model)
    described = describe(place) if place.is_dir() else None
    if model.startswith(HUBS):
        if described is None:
            raise OptionError(f"{model} has no config.json; use a folder or repository that timm wrote")
        return Pretrained(model, described.model, place, {**described.options, **options}, described.usage)
    library, _, name = model.partition("/")
    weights = published_weights(name, None).name if library == "torchvision" else None
    usage, _ = configuration_of(model, weights, "")
    if described is not None and described.model == model:
        usage, options = described.usage.over(usage), {**described.options, **options}
    return Pretrained(model, model, place, options, usage, weights)
