"""What people who know other programs type, and how to write it here: flags, folders, blanks, other names of keys."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from gender_cls.cli.launchers import PLUGINS, missing_plugin
from gender_cls.config.local_defaults import command_groups
from gender_cls.config.parsing import COMPOSED, CONFIG_FOLDER, group_options
from gender_cls.config.similar_keys import IMAGE_SIZE, UNCLEAR, Keys, as_size, data_setting, for_shell
from gender_cls.errors import GenderClsError, first_few
from gender_cls.runs.run import COMMAND_FILE

_MANY = 50  # keys in a sentence: all that were typed
_FILES = (".onnx", ".csv", ".zip", ".jpg", ".jpeg", ".png")  # as people name them without a folder
_ONE_WORD = "A setting is one word, without blanks: write"


def command_keys(config_name: str, own: str | None = None) -> Keys:
    """What can be set in a command.

    Args:
        own: a folder of the user's own configuration files.
    """
    files = {group: group_options(group, own) for group in command_groups(config_name)}
    return Keys.of(COMPOSED[config_name], files)


@contextlib.contextmanager
def naming_the_right_key(overrides: Sequence[str], config_name: str, own: str | None) -> Iterator[None]:
    """When a command line fails, and keys in it do not exist, say which ones are meant and how to write them."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, GenderClsError):
        if not (sentence := _unknown_keys(overrides, command_keys(config_name, own), own)):
            raise
        raise GenderClsError(sentence) from None


def _unknown_keys(overrides: Sequence[str], keys: Keys, own: str | None) -> str:
    """A sentence about the keys that do not exist and resemble others; empty if there are none."""
    names, ways, all_sure = [], [], True
    for override in overrides:
        typed, found, value = override.partition("=")
        name = typed.lstrip("+~")
        of_hydra = name.startswith("hydra") or re.search("[@/]", name) is not None
        if not name or of_hydra or keys.has(name) or (own is not None and (Path(own) / name).is_dir()):
            continue
        way, sure = _written(keys, name, value if found else None)
        of_another_command = (CONFIG_FOLDER / name).is_dir()  # Hydra tells of it, unless its name means another key
        if way and (sure or not of_another_command):
            names.append(name)
            ways.append(way)
            all_sure = all_sure and sure
    if not names:
        return ""
    what = f"{first_few(names, _MANY)} {'is not a key' if len(names) == 1 else 'are not keys'} of the configuration"
    return f"{what}: write {' '.join(ways)}." if all_sure else f"{what}; did you mean {' '.join(ways)}?"


def _written(keys: Keys, typed: str, value: str | None) -> tuple[str, bool]:
    """How to write a setting whose key was typed like this, and whether that is no mere guess; empty if unknown."""
    exists = typed in keys.settings or typed in keys.groups
    meant, sure = ([typed], True) if exists else keys.meant_by(typed)
    ways = [keys.written(one, typed, value) for one in meant]
    return " or ".join([way for way in ways if not way.endswith(f"={UNCLEAR}")] or ways), sure


@dataclass(frozen=True)
class _Word:
    """An argument, and whether it is key=value, a flag of Hydra (or its value), another flag, or none of them."""

    kind: str  # setting, hydra, flag or bare
    text: str


def refuse_other_forms(arguments: Sequence[str], config_name: str) -> None:
    """Raise GenderClsError if an argument is neither one of Hydra's flags nor key=value, and say how to write it."""
    words = list(_words(arguments))
    kinds = {word.kind for word in words}
    if "flag" in kinds:
        raise GenderClsError(_flags_sentence(words, command_keys(config_name)))
    if "bare" in kinds:
        multirun = any(word.text in ("-m", "--multirun") for word in words)
        texts = [word.text for word in words if word.kind != "hydra"]
        bare = next(word.text for word in words if word.kind == "bare")
        raise GenderClsError(_bare_sentence(texts, texts.index(bare), command_keys(config_name), multirun))
    for word in words:
        key, _, value = word.text.partition("=")
        if key == "hydra/launcher" and value in PLUGINS:
            ours = value.replace("submitit_slurm", "slurm").replace("submitit", "slurm")
            raise GenderClsError(
                f"{word.text}: write launcher={ours}, which sets it up. {missing_plugin(value)}".strip()
            )
        if key == "hydra/sweeper" and value != "basic":
            raise GenderClsError(f"{word.text}: write search=optuna, which searches for good settings here.")
        if word.kind == "setting" and key.endswith(f".{IMAGE_SIZE}") and not value.lstrip(" '\"").startswith("["):
            better = f"{key}={as_size(value)}"
            if better != word.text:
                raise GenderClsError(f"{word.text}: image sizes are [height,width], so write {for_shell(better)}.")


def _words(arguments: Sequence[str]) -> Iterator[_Word]:
    options = get_args_parser()._option_string_actions
    left = list(arguments)
    while left:
        text = left.pop(0)
        name, found, _ = text.partition("=")
        short = len(name) < 4 or not name.startswith("--")
        begin_so = [one for one in options if not short and one.startswith(name)]
        known = [name] if name in options else begin_so if len(begin_so) == 1 else []
        if known or re.fullmatch(r"-c(job|hydra|all)", text):
            yield _Word("hydra", text)
            takes = options[known[0]].nargs if known else 0
            if left and not found and (takes is None or (takes == "?" and left[0].isidentifier())):
                yield _Word("hydra", left.pop(0))
        elif re.match(r"--?[A-Za-z]|[–—]", text):
            yield _Word("flag", text)
        else:
            yield _Word("setting" if found or text.startswith("~") else "bare", text)


def _flags_sentence(words: Sequence[_Word], keys: Keys) -> str:
    """How to write settings that were given as flags; the words after a flag are its value."""
    typed, written = [], []
    for start, word in enumerate(words):
        if word.kind != "flag":
            continue
        following = [one.text for one in words[start + 1 : _end(words, start + 1)]]
        typed_name, found, value = word.text.lstrip("-–—").partition("=")
        name, given = typed_name.replace("-", "_"), value if found else ",".join(following) or None
        typed.append(word.text if found else " ".join([word.text, *following]))
        if name.startswith("no_") and given is None and not keys.meant_by(name)[1]:
            name, given = name.removeprefix("no_"), "false"
        way = "-m" if name in ("m", "multirun") else _written(keys, name, given)[0]
        written += [way] if way else []
    are = f"{' '.join(typed)} {'is no flag' if len(typed) == 1 else 'are no flags'}"
    if not written:
        return f"{are} and {'resembles' if len(typed) == 1 else 'resemble'} no key: --help lists the keys."
    return f"{are}: settings are written as key=value, here {' '.join(written)}."


def _end(words: Sequence[_Word], start: int) -> int:
    return next((at for at in range(start, len(words)) if words[at].kind != "bare"), len(words))


def _bare_sentence(words: Sequence[str], at: int, keys: Keys, multirun: bool) -> str:
    """How to write a word that is neither a flag nor key=value, by the words around it."""
    bare, before, after = words[at], words[at - 1] if at else "", list(words[at + 1 :])
    if way := _with_blanks(bare, before, after, keys):
        return f"{_ONE_WORD} {way}."
    following = [word for word in words[at:] if "=" not in word]
    key, _, value = before.partition("=")
    if value:
        with_blank = f"{key}={' '.join([value, *following])}"
        if Path(with_blank.removeprefix(f"{key}=")).expanduser().exists():
            return f"A path with a blank in it needs quotes: write '{with_blank}'."
        is_run = key == "run" and _asks_for_images(keys) and not _is_run(bare)
        if (_takes_several(keys, key) and not is_run) or (multirun and (key in keys.groups or not _is_path(bare))):
            joined = for_shell(f"{key}={_joined(keys, key, [value, *following], multirun)}")
            return f"Several values of a key are one word: write {joined}."
    if _is_path(bare):
        return f"A folder or file is given with its key: write {' '.join(_for_paths(keys, words))}."
    if group := next((group for group, files in keys.groups.items() if bare in files), None):
        return f"'{bare}' needs its key: write {group}={bare}."
    if keys.has(bare) or keys.meant_by(bare)[1]:
        way = _written(keys, bare, after[0] if after and "=" not in after[0] else None)[0]
        return f"'{bare}' is a key without its value: write {way or f'{bare}.KEY={UNCLEAR}'}."
    return f"'{bare}' is not an override: write key=value, and quote a value with special characters."


def _with_blanks(bare: str, before: str, after: Sequence[str], keys: Keys) -> str:
    """A setting that blanks, or a colon, took apart, put together: `key = value`, `key: value`, `key=a, b`."""

    def setting(key: str, value: str) -> str:
        return _written(keys, key, value)[0] or for_shell(f"{key}={value}")

    if after and after[0].startswith("=") and (value := after[0][1:] or "".join(after[1:2])):
        return setting(bare, value)
    if bare.endswith(":") and after and "=" not in after[0]:
        return setting(bare[:-1], after[0])
    if found := re.fullmatch(r"([\w.]+):([^:/\\]+)", bare):
        return _written(keys, *found.groups())[0]
    key, found_sign, value = before.partition("=")
    following = [bare, *(word for word in after if "=" not in word)]
    if key and found_sign and not value:
        return setting(key, _joined(keys, key, following, multirun=False))
    opened = any(value.count(one) > value.count(other) for one, other in ("[]", "{}", "()"))
    if value and (opened or value.endswith(",") or bare.startswith(",")):
        return for_shell(before + "".join(following))
    return ""


def _takes_several(keys: Keys, key: str) -> bool:
    setting = keys.settings.get(key)
    return setting is not None and (setting.type is Any or "list" in str(setting.type))


def _joined(keys: Keys, key: str, values: Sequence[str], multirun: bool) -> str:
    joined = ",".join(value.strip(",") for value in values)
    return f"[{joined}]" if len(values) > 1 and not multirun and _takes_several(keys, key) else joined


def _is_path(word: str) -> bool:
    return word == "-" or "/" in word or word.lower().endswith(_FILES) or Path(word).expanduser().exists()


def _is_run(path: str) -> bool:
    folder = Path(path).expanduser()
    marks = (COMMAND_FILE, ".hydra", "status.json")
    return "outputs" in folder.parts or folder.suffix == ".onnx" or any((folder / mark).exists() for mark in marks)


def _asks_for_images(keys: Keys) -> bool:
    return "images" in keys.settings and keys.settings["images"].type is Any


def _for_paths(keys: Keys, words: Sequence[str]) -> list[str]:
    """Settings for the folders and files that were given without a key."""
    given, paths = {word.partition("=")[0] for word in words}, [word for word in words if "=" not in word]
    if "runs" in keys.settings:
        return [_several("runs", paths)]
    if "run" in keys.settings:
        runs = [path for path in paths if "run" not in given and (_is_run(path) or not _asks_for_images(keys))]
        images = [path for path in paths if path not in runs]
        return [_several(key, some) for key, some in (("run", runs), ("images", images)) if some]
    return [for_shell(data_setting(paths[0]) if "data.root" in keys.settings else f"folder={paths[0]}")]


def _several(key: str, paths: Sequence[str]) -> str:
    return for_shell(f"{key}={paths[0]}" if len(paths) == 1 else f"{key}=[{','.join(paths)}]")
