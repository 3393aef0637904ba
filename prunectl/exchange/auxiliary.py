"""GoogLeNet and Inception of torchvision: what their published weights need, and what no state dict says."""

from collections.abc import Mapping

from prunectl.errors import OptionError

AUXILIARY = {"torchvision/googlenet": ("aux1.*", "aux2.*"), "torchvision/inception_v3": ("AuxLogits.*",)}
"""Names of the classifiers that serve training alone, which our networks of that name leave out."""
_OPTION = "transform_input"


def with_transform(model: str, options: Mapping[str, str], *, published: bool) -> dict[str, str]:
    """The options of a network, with the renormalisation of its input that torchvision's own weights were trained with.

    Raises:
        OptionError: weights of another origin, of which nothing says whether they were.
    """
    if model not in AUXILIARY or _OPTION in options:
        return dict(options)
    if not published:
        raise OptionError(
            f"{model} renormalises its input or not, and the weights do not show which; give -M {_OPTION}=true if they "
            f"come from torchvision's weights, else -M {_OPTION}=false"
        )
    return {**options, _OPTION: "true"}
