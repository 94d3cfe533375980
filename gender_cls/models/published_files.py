"""Where the published weights of a model are: in a repository of the Hugging Face Hub, or at another address.

The libraries' own caches keep them: HF_HOME (or HF_HUB_CACHE) chooses the hub's, TORCH_HOME that of other addresses.
"""

import errno
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import huggingface_hub
import timm
import torch
import torchvision.models
from huggingface_hub import constants as hub
from huggingface_hub import errors as hub_errors

from gender_cls.config.model import Library, ModelConfig
from gender_cls.errors import NO_ROOM, GenderClsError, disk_error, one_line
from gender_cls.models.known_models import require_name, require_timm_name
from gender_cls.models.weights_files import HUB_FILES

TIMEOUT = 5.0  # seconds to wait for a server's first answer; the hub itself would retry for a minute
STALLED = 30.0  # seconds without a byte, after which a download from another address has failed


class WrongAnswerError(OSError):
    """A server answers, but not with the file."""


@dataclass(frozen=True)
class HubFile:
    """A file in a repository of the Hugging Face Hub."""

    repository: str
    revision: str | None
    names: tuple[str, ...]  # the first one that the repository has counts

    chosen_by: ClassVar = "HF_HOME"

    @property
    def address(self) -> str:
        """Of the repository, for messages."""
        return f"{hub.ENDPOINT}/{self.repository}"

    @property
    def cache(self) -> Path:
        """The folder of the repository in the cache."""
        return Path(hub.HF_HUB_CACHE, "--".join(["models", *self.repository.split("/")]))

    def cached(self) -> Path | None:
        """The file in the cache; None if it is not there."""
        for name in self.names:
            found = huggingface_hub.try_to_load_from_cache(self.repository, name, revision=self.revision)
            if isinstance(found, str):
                return Path(found)
        return None

    def ask(self) -> tuple[str, int | None]:
        """The name of the file on the server and its size in bytes, if that is told."""
        for name in self.names:
            url = huggingface_hub.hf_hub_url(self.repository, name, revision=self.revision)
            try:
                about = huggingface_hub.get_hf_file_metadata(url, timeout=TIMEOUT)
            except hub_errors.EntryNotFoundError:
                continue
            if about.commit_hash is None:
                raise WrongAnswerError("what answers is not the hub, but perhaps the login page of a proxy")
            return name, about.size
        raise WrongAnswerError(f"the repository has no {' or '.join(self.names)}")

    def download(self, name: str) -> Path:
        """Download the file into the cache, and return its path. A connection that breaks is made again and goes on."""
        huggingface_hub.utils.disable_progress_bars()
        found = huggingface_hub.hf_hub_download(
            self.repository, name, revision=self.revision, etag_timeout=TIMEOUT,
            library_name="timm", library_version=timm.__version__,
        )  # fmt: skip
        return Path(found)

    def arrived(self) -> Iterator[Path]:
        """The files in which a download begins."""
        return (self.cache / "blobs").glob("*.incomplete")


@dataclass(frozen=True)
class WebFile:
    """A file at another address, which torch.hub keeps."""

    address: str
    name: str

    chosen_by: ClassVar = "TORCH_HOME"

    @property
    def cache(self) -> Path:
        """The folder of all files in the cache."""
        return Path(torch.hub.get_dir(), "checkpoints")

    def cached(self) -> Path | None:
        """As `HubFile.cached`."""
        return self.cache / self.name if (self.cache / self.name).exists() else None

    def ask(self) -> tuple[str, int | None]:
        """As `HubFile.ask`. It asks for the whole file, because some servers refuse HEAD, and reads nothing of it."""
        request = urllib.request.Request(self.address, headers={"User-Agent": "torch.hub"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            if answer.headers.get_content_type() == "text/html":
                raise WrongAnswerError("the answer is a web page, such as the login page of a proxy")
            length = answer.headers.get("Content-Length")
            return self.name, None if length is None else int(length)

    def download(self, name: str) -> Path:
        """Download the file into the cache, and return its path. Its hash is checked if its name has one."""
        self.cache.mkdir(parents=True, exist_ok=True)
        hash_in_name = torch.hub.HASH_REGEX.search(name)
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(STALLED)  # torch's function takes no limit of time, and would wait for ever
        try:
            file = self.cache / name
            torch.hub.download_url_to_file(
                self.address, str(file), None if hash_in_name is None else hash_in_name[1], progress=False
            )
        finally:
            socket.setdefaulttimeout(before)
        return file

    def arrived(self) -> Iterator[Path]:
        """As `HubFile.arrived`."""
        return self.cache.glob(f"{self.name}.*.partial")


def published_file(model: ModelConfig) -> HubFile | WebFile:
    """Where the published weights of a model are.

    Raises:
        GenderClsError: its library does not have the model, or no weights for it.
    """
    name = str(model.name)
    if model.library is Library.torchvision:
        require_name(model)
        return _web_file(torchvision.models.get_model_weights(name).DEFAULT.url)
    require_timm_name(model)
    source = timm.models.get_pretrained_cfg(name)
    if source is None or not source.has_weights:
        raise GenderClsError(
            f"{model.title} has no pretrained weights: set model.pretrained=false, or name a local file with "
            "model.weights=PATH."
        )
    if source.hf_hub_id:
        repository, _, tag = source.hf_hub_id.partition("@")
        names = (source.hf_hub_filename,) if source.hf_hub_filename else HUB_FILES
        return HubFile(repository, tag or None, names)
    return _web_file(source.url)


def _web_file(url: Any) -> WebFile:
    """From an address, or a pair of one and the name that the cache gives it."""
    return WebFile(url, Path(urlsplit(url).path).name) if isinstance(url, str) else WebFile(*url)


def reason_of(error: Exception, place: HubFile | WebFile) -> str:
    """What went wrong on the way to a file, for a sentence."""
    if isinstance(error, hub_errors.OfflineModeIsEnabled):
        return f"HF_HUB_OFFLINE is set, and they are not in {hub.HF_HUB_CACHE}"
    if isinstance(error, hub_errors.GatedRepoError):
        return "its terms must be accepted there first, and HF_TOKEN must be a token of that account"
    if isinstance(error, hub_errors.RepositoryNotFoundError):
        return "there is no such repository, or it needs a token in HF_TOKEN"
    if isinstance(error, hub_errors.HfHubHTTPError):
        return f"the server answers {error.response.status_code}"
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}".rstrip()
    reason: Any = getattr(error, "reason", None)  # of an URLError
    cause: Any = reason if isinstance(reason, BaseException) else error
    if isinstance(cause, TimeoutError) or "timed out" in str(cause).lower() or "Timeout" in type(cause).__name__:
        return f"no answer{_through_proxy(place)}: timed out"
    of_cache = disk_error(cause) or (cause if isinstance(cause, OSError) and cause.errno in _OF_CACHE else None)
    if of_cache is not None:
        what = "has no room" if of_cache.errno in NO_ROOM else "cannot be used"
        return f"{place.cache} {what} ({one_line(cause)}); {place.chosen_by} chooses another folder"
    return re.sub(r"^\[Errno -?\d+\] ", "", one_line(cause)) + _through_proxy(place)


def _through_proxy(place: HubFile | WebFile) -> str:
    """Through which proxy a file is asked for, as the environment says; without its password."""
    address = urlsplit(place.address)
    proxy = urllib.request.getproxies().get(address.scheme)
    if proxy is None or urllib.request.proxy_bypass(address.netloc):
        return ""
    return f" through the proxy {proxy.rpartition('@')[2].rpartition('//')[2]}"


_OF_CACHE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)
