"""torchvision's GoogLeNet and Inception: the options that their published weights need and no state dict shows."""

from collections.abc import Mapping

from prunectl.errors import OptionError

AUXILIARY = {"torchvision/googlenet": ("aux1.*", "aux2.*"), "torchvision/inception_v3": ("AuxLogits.*",)}
"""Names of the auxiliary classifiers, used in training only; our networks leave them out."""
_OPTION = "transform_input"


def with_transform(model: str, options: Mapping[str, str], *, published: bool) -> dict[str, str]:
    """The network's options, plus the input renormalisation with which torchvision trained its own weights.

    Raises:
        OptionError: the weights have another origin, and nothing says whether they were trained with it.
    """
    if model not in AUXILIARY or _OPTION in options:
        return dict(options)
    if not published:
        raise OptionError(
            f"the weights do not show whether {model} renormalises its input; pass -M {_OPTION}=true if they come from "
            f"torchvision's weights, else -M {_OPTION}=false"
        )
    return {**options, _OPTION: "true"}
