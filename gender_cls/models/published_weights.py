"""The published weights of models: all of them in the caches of this machine, or a sentence that says why not."""

import contextlib
import logging
import shutil
import threading
import urllib.error
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub.errors import HfHubHTTPError

from gender_cls.config.model import ModelConfig
from gender_cls.errors import GenderClsError, count, plural
from gender_cls.models.published_files import HubFile, WebFile, WrongAnswerError, published_file, reason_of
from gender_cls.models.weights import read_weights
from gender_cls.models.weights_files import damage_of
from gender_cls.system.progress import Work, working

log = logging.getLogger(__name__)

LOOK = 0.3  # seconds between two looks at how much has arrived
MB = 1_000_000  # bytes

OR_RANDOM = ", or start from random weights with model.pretrained=false"


class UnavailableError(GenderClsError):
    """Published weights cannot be loaded."""


def unavailable(problems: dict[str, str]) -> UnavailableError:
    """The error for published weights that cannot be loaded; it names both ways out.

    Args:
        problems: title of a model -> where its weights are, and what is wrong.
    """
    if len(problems) == 1:
        [(title, problem)] = problems.items()
        return UnavailableError(
            f"The pretrained weights of {title} cannot be loaded from {problem}: name a local file with "
            f"model.weights=PATH{OR_RANDOM}."
        )
    listed = ", ".join(f"{title} from {problem}" for title, problem in problems.items())
    return UnavailableError(
        f"The pretrained weights of {len(problems)} models cannot be loaded: {listed}. Name a folder with a file for "
        f"each model, called after it, with model.weights=FOLDER{OR_RANDOM}."
    )


def fetch_weights(models: Iterable[ModelConfig]) -> dict[str, Path]:
    """The files of the published weights of all these models: from a cache of this machine, or downloaded.

    Nothing is downloaded unless a server offers all that no cache has, and there is room for them.

    Returns:
        Title of a model -> its file.

    Raises:
        UnavailableError: it names every model whose weights cannot be had, and why.
        GenderClsError: a library does not have one of the models, or no weights for it.
    """
    places = {model.title: published_file(model) for model in models}
    files: dict[str, Path] = {}
    offers: dict[str, tuple[str, int | None]] = {}
    problems: dict[str, str] = {}
    silent: dict[str, str] = {}  # servers that do not answer, and how
    with working("Looking for pretrained weights"):
        for title, place in places.items():
            try:
                cached = place.cached()
                if cached is None:
                    offers[title] = _ask(place, silent)
                elif damage := _damage(cached):
                    problems[title] = (
                        f"{cached.resolve()} ({damage}; the command downloads it again once the file is removed)"
                    )
                else:
                    files[title] = cached
            except Exception as error:  # each version of the hub's client has errors of its own
                problems[title] = f"{place.address} ({reason_of(error, place)})"
    for title in offers:
        if title not in problems and (problem := _no_room(places, offers)) is not None:
            problems[title] = f"{places[title].address} ({problem})"
    if problems:
        raise unavailable(problems)
    for title, (name, size) in offers.items():
        place = places[title]
        megabytes = None if size is None else -(-size // MB)
        with working(f"Downloading {title}", megabytes, "MB") as work, _counting(place, work):
            try:
                files[title] = place.download(name)
                if damage := _wrong_length(files[title], size) or _damage(files[title]):
                    files[title].resolve().unlink()
                    raise WrongAnswerError(f"the server sent something else than weights: {damage}")
            except Exception as error:  # the same
                raise unavailable({title: f"{place.address} ({reason_of(error, place)})"}) from None
        log.info(f"Downloaded the weights of {title} into {place.cache}.")
    return files


def _ask(place: HubFile | WebFile, silent: dict[str, str]) -> tuple[str, int | None]:
    """What the server offers; one that has not answered is not asked again."""
    server = urlsplit(place.address).netloc
    if server in silent:
        raise OSError(silent[server])
    try:
        return place.ask()
    except Exception as error:  # the same; it is raised again
        if not isinstance(error, WrongAnswerError | urllib.error.HTTPError | HfHubHTTPError):
            silent[server] = reason_of(error, place)
        raise


def _no_room(places: dict[str, HubFile | WebFile], offers: dict[str, tuple[str, int | None]]) -> str | None:
    """What to say if the files do not fit onto the disks of the caches."""
    needed: dict[Path, int] = {}
    chosen_by: dict[Path, set[str]] = {}
    for title, (_, size) in offers.items():
        cache = next(folder for folder in [places[title].cache, *places[title].cache.parents] if folder.exists())
        needed[cache] = needed.get(cache, 0) + (size or 0)
        chosen_by.setdefault(cache, set()).add(places[title].chosen_by)
    for cache, size in needed.items():
        if (free := shutil.disk_usage(cache).free) < size:
            names = " and ".join(sorted(chosen_by[cache]))
            return (
                f"{cache} has room for {count(free // MB)} MB, and the weights need {count(-(-size // MB))} MB; "
                f"{names} chooses another disk"
            )
    return None


def _damage(file: Path) -> str | None:
    """As `damage_of`; files of torch's old format have no table of contents, so they are read."""
    damage = damage_of(file)
    if damage is None and file.suffix != ".safetensors" and not zipfile.is_zipfile(file):
        try:
            read_weights(file)
        except GenderClsError:
            damage = "it is damaged"
    return damage


def _wrong_length(file: Path, size: int | None) -> str | None:
    length = file.stat().st_size
    return None if size in (None, length) else f"it has {count(length)} of {plural(size or 0, 'byte')}"


@contextlib.contextmanager
def _counting(place: HubFile | WebFile, work: Work) -> Iterator[None]:
    """Say how much has arrived, by the size of the newest unfinished file: no library tells that in all versions."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK):
            with contextlib.suppress(OSError):  # it has its final name now
                states = [file.stat() for file in place.arrived()]
                newest = max(states, key=lambda state: state.st_mtime, default=None)
                work.done = 0 if newest is None else newest.st_size // MB

    watcher = threading.Thread(target=look, daemon=True, name="size of the download")
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
