"""The input shapes for which networks of other libraries are published."""

_USUAL = (3, 224, 224)


def published_input(model: str) -> tuple[int, int, int] | None:
    """The (C, H, W) for which `torchvision/NAME` or `timm/NAME` is published; None for other networks."""
    library, _, name = model.partition("/")
    if library == "torchvision" and name:
        return _USUAL
    if library != "timm" or not name:
        return None
    try:
        import timm  # noqa: PLC0415
    except ImportError:  # building the network reports it
        return None
    known = timm.get_pretrained_cfg(name)
    if known is None:
        return _USUAL
    channels, height, width = known.input_size
    return channels, height, width
