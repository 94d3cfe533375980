"""Files of weights: found in a folder by a model's name, and judged by their first bytes. Imports no torch."""

import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from gender_cls.config.model import Library, ModelConfig
from gender_cls.errors import GenderClsError, count, first_few

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""The files of a repository of the Hugging Face Hub that hold weights, in timm's order."""

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")


def find_weights(folder: Path, model: ModelConfig) -> Path | None:
    """The file in `folder` whose name says that it holds the weights of this model.

    `resnet50.a1_in1k` is found as `resnet50.a1_in1k*`, else as `resnet50*`; after the name come `.`, `-`, `_` or the
    end. A file that names another library is left out. Folders inside count too, if they are those of the hub's cache
    (`models--timm--NAME`) or have a model's name and hold `model.safetensors`.

    Returns:
        None for a model without published weights, such as the custom CNN, that has no file there.

    Raises:
        NoFileError: no file fits.
        GenderClsError: several fit equally well.
    """
    found = [(name, file) for name, file in _named_files(folder) if not _names_another_library(name, model.library)]
    ranks = {file: rank for name, file in found if (rank := _rank(name, str(model.name))) is not None}
    best = [file for file in ranks if ranks[file] == min(ranks.values())]
    if len(best) == 1:
        return best[0]
    if best:
        shown = first_few([file.relative_to(folder) for file in best], 5)
        raise GenderClsError(
            f"model.weights={folder} has {len(best)} files for {model.title}: {shown}; name one of them with "
            "model.weights=FILE, or link it into a folder of your own."
        )
    if not model.has_published_weights:
        return None
    raise no_file(folder, [model])


class NoFileError(GenderClsError):
    """A folder has no file of weights for a model."""


def no_file(folder: Path, models: Sequence[ModelConfig]) -> NoFileError:
    """The error for a folder that has no weights for these models."""
    name = str(models[0].name)
    there = first_few([file.relative_to(folder) for _, file in _named_files(folder)])
    return NoFileError(
        f"model.weights={folder} has no file for {' and '.join(model.title for model in models)}. A file is called "
        f"after its model, as {name}.safetensors or {_without_tag(name)}_ANYTHING.pth (or {', '.join(SUFFIXES[2:])}); "
        f"there are {there or 'none at all'}."
    )


def _named_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Each file of weights with the name by which it is judged."""
    for entry in sorted(folder.iterdir()):
        if entry.is_file() and entry.suffix in SUFFIXES:
            yield entry.name.removesuffix(entry.suffix), entry
        elif entry.is_dir():
            name, inside = entry.name, entry
            if name.startswith("models--"):
                name, reference = name.rpartition("--")[2], entry / "refs" / "main"
                inside = (
                    entry / "snapshots" / (reference.read_text(encoding="ascii").strip() if reference.is_file() else "")
                )
            yield from [(name, inside / file) for file in HUB_FILES if (inside / file).is_file()][:1]


def _names_another_library(name: str, own: Library) -> bool:
    words = re.split(r"[.\-_]", name.lower())
    return any(other.value in words for other in (Library.timm, Library.torchvision) if other is not own)


def _rank(name: str, model: str) -> int | None:
    """How well a file's name fits a model's: 0 is best; None if it does not fit."""
    plain = _without_tag(model)
    forms = [re.escape(model), rf"{re.escape(model)}[.\-_].*"]
    if plain != model:  # after the plain name, a dot would begin another tag
        forms += [re.escape(plain), rf"{re.escape(plain)}[\-_].*"]
    return next((rank for rank, form in enumerate(forms) if re.fullmatch(form, name)), None)


def _without_tag(model: str) -> str:
    return model.partition(".")[0]


def require_whole(file: Path, way_out: str = "set model.weights to another file") -> None:
    """Raise GenderClsError if a file cannot be read, or cannot be a whole file of weights; see `damage_of`."""
    if not file.is_file():  # a pipe would block
        raise GenderClsError(f"{file} {'is not a file' if file.exists() else 'does not exist'}: {way_out}.")
    if damage := damage_of(file):
        raise GenderClsError(f"{file} holds no weights, because {damage}: {way_out}.")


def damage_of(file: Path) -> str | None:
    """Why a file is no whole file of weights, by its first bytes and its length; None if nothing is wrong with those.

    Raises:
        GenderClsError: it cannot be read.
    """
    try:
        with file.open("rb") as opened:
            beginning = opened.read(512)
            length = file.stat().st_size
            if not beginning:
                return "it is empty"
            if beginning.startswith(b"version https://git-lfs"):
                return "it is a pointer of Git LFS, which git lfs pull replaces by the file"
            if beginning.lstrip().startswith(b"<"):
                return "it is a web page, such as the login page of a proxy"
            if file.suffix == ".safetensors":
                opened.seek(0)
                size = int.from_bytes(opened.read(8), "little")
                header = json.loads(opened.read(size)) if size < length else None
                if not isinstance(header, dict):
                    return "it has no header of tensors"
                ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
                if (whole := 8 + size + max(ends, default=0)) != length:
                    return f"it has {count(length)} of {count(whole)} bytes"
        if beginning.startswith(b"PK") and not zipfile.is_zipfile(file):  # its table of contents is at the end
            return "its end is missing"
    except OSError as error:
        raise GenderClsError(f"{file} cannot be read ({error.strerror or error}): change its permissions.") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "it has no header of tensors"
    return None
