"""Finds out within seconds whether pretrained weights can be had; left alone, the hub retries for up to a minute."""

import ssl
import textwrap
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub
import torch
from timm.models import PretrainedCfg

from gender_cls.errors import GenderClsError

TIMEOUT = 5.0
"""Seconds to wait for a first answer."""

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""What timm looks for in a repository, best first."""


def require_weights(source: PretrainedCfg | str, title: str) -> Path | None:
    """Make sure that pretrained weights are in a local cache or can be downloaded.

    Args:
        source: timm's description of the weights, or the address of the file.
        title: the model, for the message.

    Returns:
        The file if the Hugging Face cache has it, None if the library's own loader is to fetch it.

    Raises:
        GenderClsError: neither.
    """
    if isinstance(source, PretrainedCfg) and source.hf_hub_id:
        return _require_hub(source.hf_hub_id, source.hf_hub_filename, title)
    address = source if isinstance(source, str) else source.url
    if address:
        address, file = (address, Path(urlsplit(address).path).name) if isinstance(address, str) else address
        if not Path(torch.hub.get_dir(), "checkpoints", file).exists():
            _require_answer(address, title)
    return None


def unavailable(title: str, source: str, answer: object) -> GenderClsError:
    """The sentence for weights that cannot be had, with both ways out."""
    return GenderClsError(
        f"The pretrained weights of {title} cannot be had from {source} ({one_line(answer)}): "
        "name a local file with model.weights=PATH, or start from random weights with model.pretrained=false."
    )


def one_line(answer: object) -> str:
    """An error's message as part of a sentence."""
    return textwrap.shorten(str(answer), 200, placeholder=" ...").rstrip(".") or type(answer).__name__


def _require_hub(hub_id: str, file: str | None, title: str) -> Path | None:
    repository, _, revision = hub_id.partition("@")
    for name in (file,) if file else HUB_FILES:
        cached = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached)
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise unavailable(title, repository, "HF_HUB_OFFLINE is set, and they are not in the local cache")
    _require_answer(huggingface_hub.hf_hub_url(repository, "config.json", revision=revision or None), title)
    return None


def _require_answer(address: str, title: str) -> None:
    """Anything that a working server says will do, "not found" too: then the real loader reports it at once."""
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=TIMEOUT).close()
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise unavailable(title, address, error) from None
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ssl.SSLError):  # the loader may bring certificates that urllib lacks
            raise unavailable(title, address, error.reason) from None
    except OSError as error:
        raise unavailable(title, address, error) from None
