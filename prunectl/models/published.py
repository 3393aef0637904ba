"""The images that networks of other libraries are published for."""

_USUAL = (3, 224, 224)


def published_input(model: str) -> tuple[int, int, int] | None:
    """(C, H, W) that `torchvision/NAME` or `timm/NAME` is published for; None for other networks."""
    library, _, name = model.partition("/")
    if library == "torchvision" and name:
        return _USUAL
    if library != "timm" or not name:
        return None
    try:
        import timm  # noqa: PLC0415
    except ImportError:  # building the network says so
        return None
    known = timm.get_pretrained_cfg(name)
    if known is None:
        return _USUAL
    channels, height, width = known.input_size
    return channels, height, width
