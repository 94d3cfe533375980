"""What a command says in the end when it fails: one line that names what is wrong, and the choices where there are."""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from traceback import walk_tb

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from gender_cls.cli.launchers import missing_plugin
from gender_cls.config.sentences import config_sentence
from gender_cls.config.similar_keys import data_setting, is_model_name
from gender_cls.errors import GenderClsError, disk_sentence, error_sentence, one_line, unbroken


def last_sentence(error: BaseException, schema: type) -> str:
    """What went wrong, in one line.

    Args:
        schema: of the command's configuration.
    """
    if isinstance(error, GenderClsError):
        return unbroken(error)
    if isinstance(error, MissingConfigException) and error.options is not None:
        return _no_such_file(error.missing_cfg_file or "", error.options)
    if isinstance(error, OverrideParseException):
        return f"'{error.override}' is not an override: write key=value, and quote a value with special characters."
    for pattern, sentence in _OF_HYDRA.items():
        if found := re.match(pattern, str(error)):
            return sentence.format(*found.groups())
    for cause in _behind(error):
        if isinstance(cause, OmegaConfBaseException):
            file = re.match(r"In '([\w/]+)'", str(error))
            where = f"{file[1]}.yaml: " if file else ""
            return where + config_sentence(cause, schema)
    if isinstance(error, HydraException):
        return unbroken(error)
    if isinstance(error, YAMLError):
        return f"A file of --config-dir cannot be read as YAML: {one_line(error)}."
    if "Invalid loaded object type" in str(error):  # by OmegaConf, which does not say of which file
        files = [frame.f_locals.get("config_path") for frame, _ in walk_tb(error.__traceback__)]
        return f"{next(filter(None, reversed(files)), 'A file')}.yaml holds no keys: write `key: value` on each line."
    if (of_disk := disk_sentence(error)) is not None:
        return of_disk
    return f"{error_sentence(error)} (unexpected; HYDRA_FULL_ERROR=1 shows the traceback)"


_OF_HYDRA = {
    r"In '(\w+)/(\w+)': Could not override '(\w+)'": (
        "{0}={1} also sets a {2}, which this command does not have: choose another {0}."
    ),
    r"Could not override '([\w/]+)/(\w+)'\. No match": (
        "{0}/{1} cannot be chosen here: it belongs to another choice of {0}."
    ),
    r"Could not override '(\w+)'\. No match": "This command has no {0} to choose: --help shows what it has.",
    r"Multiple values for ([\w/]+)\. To override a value use 'override [\w/]+: (\w+)'": (
        "{0} is chosen twice: the file that chooses {1} has to write `override /{0}: {1}` under `defaults`."
    ),
    r"Could not append to config. An item is already at '([^']+)'": "{0} exists already: write {0}=... without the +.",
}
"""How Hydra begins -> the sentence instead."""


def _behind(error: BaseException) -> Iterator[BaseException]:
    """The errors that led to this one, the nearest first, then itself."""
    before = error.__cause__ or error.__context__
    while before is not None:
        yield before
        before = before.__cause__ or before.__context__
    yield error


def _no_such_file(missing: str, options: Sequence[str]) -> str:
    """A choice that does not exist, and those that do."""
    group, _, choice = missing.partition("/") if missing.startswith(("data/", "model/")) else missing.rpartition("/")
    if group == "hydra/launcher" and (plugin := missing_plugin(choice)):
        return plugin
    close = get_close_matches(choice, options, n=2)
    hint = f"did you mean {' or '.join(close)}? There are" if close else "there are"
    further = ""
    if group == "explain":
        further = " explain.methods=[...] chooses the methods."
    elif group == "data":
        own = data_setting(choice) if "/" in choice or Path(choice).exists() else "data.root=FOLDER"
        further = f" For data of your own, write {own}."
    elif group == "model":
        own = choice if is_model_name(choice) else "NAME"
        further = f" Another model of timm is model=timm model.name={own}, one of torchvision model=torchvision."
        if Path(choice).suffix in (".pth", ".pt", ".ckpt", ".safetensors"):
            further = f" A file of weights is model.weights={choice}."
    return f"There is no {group}={choice}; {hint} {', '.join(options)}.{further}"
