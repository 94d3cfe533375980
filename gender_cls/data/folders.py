"""One walk over folders of images: every image once, with what the folders around it say, and what is left out."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, NamedTuple

from gender_cls.config.data import CLASSES, DataConfig
from gender_cls.data.columns import SPLIT_ALIASES, label_names, splits_next_to_trainval
from gender_cls.data.image_files import IMAGE_SUFFIXES, is_picture
from gender_cls.data.same_files import file_identity
from gender_cls.data.source import has_labels
from gender_cls.errors import GenderClsError, first_few, harmless, has_odd_letters, plural, visible

LEFT_OUT = {
    "without_label": ("image outside of the label folders", "images outside of the label folders"),
    "hidden": ("hidden image", "hidden images"),
    "system": ("thumbnail or deleted image", "thumbnails or deleted images"),
    "again": ("second name of an image or folder", "second names of images or folders"),
    "special": ("pipe, socket or device", "pipes, sockets or devices"),
    "other": ("file that is no image", "files that are no images"),
}
"""Why a file gets no row, and how one file and several are called."""

SYSTEM_FOLDERS = {
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@__thumb", "@tmp"),  # of network storage
    *("$recycle.bin", "recycler", "system volume information", "__macosx", "lost+found"),
}
"""Where storage and operating systems keep thumbnails, older versions and deleted files; in lower case."""

NO_IMAGES = {".csv", ".db", ".ini", ".json", ".log", ".mat", ".md", ".npy", ".txt", ".xml", ".yaml", ".yml"}
"""Suffixes of files that are not opened to see whether they are images: there may be one next to each image."""


class Place(NamedTuple):
    """What the folders around a file say about it."""

    label: str = ""
    split: str = ""
    problem: str = ""  # a sentence that says why no image may be here; empty if images may


Enter = Callable[[Place, str], Place]
"""Gets a place and the path of a folder in it; returns the place inside that folder."""


class FoundImage(NamedTuple):
    """One image and where it lies."""

    path: str  # relative to the folder of the walk, with `/` between folders
    place: Place
    file: tuple[int, int]  # see same_files.file_identity


@dataclass
class Found:
    """What a walk finds, in any order."""

    images: list[FoundImage] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in LEFT_OUT})  # their paths


def find_images(root: Path, start: Place, enter: Enter) -> Found:
    """Walk over a folder. Each folder in it is read once; pipes, sockets and devices are never opened.

    Images are known by their suffix, or else by their first bytes. Links are followed, after all real folders: they add
    what no real folder holds, and nothing if they lead to a folder around them. Only images that a link puts into the
    folders of two labels or splits are found in both.

    Args:
        start: the place of `root` itself.
        enter: gives the place of each folder below it.

    Raises:
        GenderClsError: a folder cannot be read, or an image lies where a place has a problem.
    """
    found = Found()
    seen: dict[tuple[int, int], set[Place]] = {_identity(parent): {Place()} for parent in root.parents}
    todo = [(False, "", start)]
    while todo:
        _, folder, place = heappop(todo)
        try:
            identity = _identity(root / folder)
            places = seen.setdefault(identity, set())
            if any(earlier == place or not earlier.label for earlier in places):
                found.left_out["again"].append(folder)
                continue
            places.add(place)
            for is_link, inside in _read_folder(root, folder, place, identity[0], found):
                heappush(todo, (is_link, inside, enter(place, inside)))
        except OSError as error:
            raise GenderClsError(
                f"{visible(error.filename or root / folder)} cannot be read ({error.strerror}), so images may be "
                "missing: allow reading it, or move it elsewhere."
            ) from None
    for left_out in found.left_out.values():
        left_out.sort()
    return found


def _read_folder(root: Path, folder: str, place: Place, device: int, found: Found) -> Iterator[tuple[bool, str]]:
    """Add the files of one folder to `found`; yield the folders in it, and whether each is a link."""
    before = f"{folder}/" if folder else ""
    with os.scandir(root / folder) as entries:
        for entry in entries:
            path, kind = before + entry.name, _kind(entry)
            if kind == "image":
                if place.problem:
                    raise GenderClsError(place.problem)
                file = file_identity(entry.path) if entry.is_symlink() else (device, entry.inode())
                found.images.append(FoundImage(path, place, file))
            elif kind == "folder":
                yield entry.is_symlink(), path
            elif kind in ("hidden folder", "system folder"):
                found.left_out[kind.split()[0]].extend(before + image for image in _images_below(entry))
            elif kind:
                found.left_out[kind].append(path)


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _kind(entry: os.DirEntry[str]) -> str:
    """A key of LEFT_OUT, or image, folder, hidden folder or system folder; empty for what is not counted."""
    name = entry.name
    suffix = _suffix(name)
    try:
        if entry.is_file():
            pass
        elif entry.is_dir():
            if name.startswith("."):
                return "hidden folder"
            return "system folder" if name.lower() in SYSTEM_FOLDERS else "folder"
        elif not entry.is_symlink() or os.path.exists(entry.path):
            return "special"
    except OSError as error:  # a link that leads nowhere, or to a place that may not be read
        if error.errno != errno.ELOOP and suffix not in IMAGE_SUFFIXES:
            raise
    if name.startswith("."):
        return "hidden" if suffix in IMAGE_SUFFIXES else ""
    if suffix in IMAGE_SUFFIXES:
        return "image"
    return "image" if suffix not in NO_IMAGES and is_picture(entry.path) else "other"


def _suffix(name: str) -> str:
    return name[name.rfind(".") :].lower()


def image_names(folder: Path) -> list[str]:
    """The names of the images in one folder, sorted, without hidden ones.

    Raises:
        GenderClsError: the folder cannot be read.
    """
    found = Found()
    try:
        for _ in _read_folder(folder, "", Place(), 0, found):
            pass
    except OSError as error:
        raise GenderClsError(f"{visible(folder)} cannot be read ({error.strerror}): allow reading it.") from None
    return sorted(image.path for image in found.images)


def _images_below(folder: os.DirEntry[str]) -> Iterator[str]:
    """Paths of the files with an image's suffix, from the folder on; nothing where reading is not allowed."""
    if not folder.is_symlink():
        for directory, _, files in os.walk(folder.path):
            inside = directory[len(folder.path) :]
            for name in files:
                if _suffix(name) in IMAGE_SUFFIXES:
                    yield f"{folder.name}{inside}/{name}"


def labelled_images(root: Path, data: DataConfig) -> Found:
    """The images in `<label>/**`, `<split>/<label>/**` or `<label>/<split>/**`.

    Raises:
        GenderClsError: as for `find_images`; the name of a folder with images is no label or split, or the folders
            around an image name two labels or two splits.
    """
    labels = label_names(data)
    try:
        names = {name.lower() for name in os.listdir(root) if os.path.isdir(root / name)}
    except OSError as error:
        raise GenderClsError(f"The folder {root} cannot be read: {error.strerror}.") from None
    by_split = not names.isdisjoint(SPLIT_ALIASES)
    if others := splits_next_to_trainval(names):
        raise GenderClsError(f"{root} has the folder trainval next to {first_few(others)}: name it train or val.")

    def enter(place: Place, path: str) -> Place:
        name, depth = path.rpartition("/")[2].lower(), path.count("/")
        split = SPLIT_ALIASES.get(name, "")
        if place.problem:
            return place
        if by_split and depth == 0:
            return Place(split=split) if split else _misnamed(root, path, "one of train, val and test")
        if not place.label and name not in labels:
            what = f"a label ({', '.join(CLASSES)} or an alias under data.aliases)"
            return _misnamed(root, path, what, inside=not depth and has_labels(root / path, labels.keys()))
        inside = _with_label(root, place, path, labels)
        if split and depth == by_split + 1:
            if place.split not in ("", split):
                return Place(problem=_contradiction(root, path, "splits", place.split, split))
            inside = inside._replace(split=split)
        return inside

    found = find_images(root, Place(), enter)
    found.left_out["without_label"] = sorted(image.path for image in found.images if not image.place.label)
    found.images = [image for image in found.images if image.place.label]
    return found


def images_in(root: Path, data: DataConfig) -> Found:
    """All images below a folder. Its name and those of the folders in it may name a label.

    Raises:
        GenderClsError: as for `find_images`; the folders around an image name two labels.
    """
    labels = label_names(data)
    start = Place(labels.get(root.name.lower(), ""))
    return find_images(root, start, lambda place, path: _with_label(root, place, path, labels))


def _with_label(root: Path, place: Place, path: str, labels: Mapping[str, str]) -> Place:
    label = labels.get(path.rpartition("/")[2].lower(), place.label)
    if place.problem or place.label in ("", label):
        return place._replace(label=label)
    return Place(problem=_contradiction(root, path, "labels", place.label, label))


def _misnamed(root: Path, path: str, what: str, inside: bool = False) -> Place:
    folder = visible(f"{root}/{path}")
    way_out = f"write data.root={folder}, or move it" if inside else "rename or move it"
    return Place(problem=f"The folder {folder} holds images but its name is not {what}: {way_out}.")


def _contradiction(root: Path, path: str, what: str, first: str, second: str) -> str:
    return (
        f"The folder {visible(f'{root}/{path}')} holds images, and its path names two {what}, {first} and {second}: "
        "move the images, or rename the folder."
    )


def check_names(paths: Iterable[str], where: object) -> None:
    """Raise GenderClsError if tables cannot keep one of the paths; invisible characters are shown as escapes."""
    odd = [path for path in paths if has_odd_letters(path)]
    if odd:
        raise GenderClsError(
            f"{plural(len(odd), 'name')} in {where} {'holds' if len(odd) == 1 else 'hold'} control characters or bytes "
            f"that are not UTF-8: {first_few(odd)}; rename {'it' if len(odd) == 1 else 'them'}."
        )


def count_left_out(left_out: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    """For each kind of LEFT_OUT with files: how many `files`, and `examples`."""
    return {
        kind: {"files": len(paths), "examples": list(map(harmless, paths[:5]))}
        for kind, paths in left_out.items()
        if paths
    }


def left_out_sentence(left_out: Mapping[str, Sequence[str]]) -> str:
    """How many files of each kind were left out, with examples; empty if there are none."""
    kinds = [f"{plural(len(paths), *LEFT_OUT[kind])} ({first_few(paths)})" for kind, paths in left_out.items() if paths]
    return f"Left out: {'; '.join(kinds)}." if kinds else ""
