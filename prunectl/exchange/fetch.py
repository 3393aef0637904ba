"""Fetches published weights into the caches of their libraries; they are then read like any other file."""

from pathlib import Path
from typing import Any

from prunectl.errors import FileError, OptionError
from prunectl.exchange.state_dict import WEIGHTS, first_line
from prunectl.exchange.usage import published_weights
from prunectl.plugins.registry import HUBS

HUB, LOCAL = "hf-hub:", "local-dir:"
"""timm's prefixes for a repository of the Hugging Face hub and for a folder."""
_CONFIGS = ("config.json", "preprocessor_config.json")


def place_of(name: str) -> Path:
    """The path of FILE: a path, `local-dir:FOLDER`, or `hf-hub:OWNER/NAME`, which is fetched.

    Raises:
        FileError: it cannot be fetched.
    """
    return fetch_repository(name.removeprefix(HUB)) if name.startswith(HUB) else Path(name.removeprefix(LOCAL))


def fetch_pretrained(model: str, weights: str | None = None) -> Path:
    """Fetch the published weights of `model`: a file, or a folder of the Hugging Face hub.

    timm networks may also be `timm/hf-hub:OWNER/NAME` or `timm/local-dir:FOLDER`. `weights` chooses among torchvision's
    weights, by default the best; the tag in a timm name chooses among timm's.

    Raises:
        OptionError: no published weights are known.
        FileError: they cannot be fetched.
    """
    library, _, name = model.partition("/")
    if model.startswith(HUBS):
        return place_of(name)
    if library == "torchvision":
        return fetch_file(published_weights(name, weights).url)
    if weights is not None:
        raise OptionError(f"`weights` is for torchvision networks, got {weights} for {model}; leave it out")
    if library == "timm":
        import timm  # noqa: PLC0415

        config: Any = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
        if config is not None and config.hf_hub_id:
            return fetch_repository(config.hf_hub_id)
        if config is not None and config.url:
            return fetch_file(config.url)
    raise OptionError(f"no published weights of {model} are known; use another `model`, or leave out `pretrained`")


def fetch_file(url: str) -> Path:
    """Fetch a file into torch's cache, unless it is there. Its name may end with the start of its sha256.

    Raises:
        FileError: it cannot be fetched or written, or has another hash.
    """
    import torch.hub  # noqa: PLC0415

    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if path.exists():
        return path
    found = torch.hub.HASH_REGEX.search(path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), found.group(1) if found else None, progress=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise FileError(
            f"cannot fetch {url} into {path.parent}: {first_line(error)}; check the network and $TORCH_HOME, or put "
            "the file there"
        ) from error
    return path


def fetch_repository(name: str) -> Path:
    """Fetch a repository's configuration and weights into the cache of the Hugging Face hub, unless they are there.

    Raises:
        FileError: it cannot be fetched, or the hub's client is not installed.
    """
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415
    except ImportError as error:
        raise FileError(f"{HUB}{name} needs huggingface_hub: pip install 'prunectl[timm]' or 'prunectl[hf]'") from error
    weights = [pattern for each in WEIGHTS for pattern in _parts(each)]
    try:
        return Path(snapshot_download(name, allow_patterns=[*_CONFIGS, *weights]))
    except (OSError, RuntimeError, ValueError, LookupError) as error:
        raise FileError(
            f"cannot fetch {HUB}{name}: {first_line(error)}; check the name, the network, $HF_HUB_OFFLINE and $HF_HOME"
        ) from error


def _parts(name: str) -> tuple[str, str, str]:
    """Patterns for the file of that name, its shards, and their index."""
    stem, dot, end = name.rpartition(".")
    return name, f"{stem}-*-of-*{dot}{end}", f"{name}.index.json"
