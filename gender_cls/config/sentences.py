"""OmegaConf's errors in sentences that name the key, the value and what would be right. Imports no torch."""

import re
from dataclasses import is_dataclass
from difflib import get_close_matches
from typing import Any

from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from gender_cls.config.launcher import LAUNCHER, launchers_with
from gender_cls.config.similar_keys import IMAGE_SIZE, Keys, as_size


def config_sentence(error: OmegaConfBaseException, schema: Any = None) -> str:
    """OmegaConf's error in one sentence that names the whole key and, for a misspelt one, similar keys.

    Args:
        schema: of the command, to find the key in other sections; None if it is not known.
    """
    key = error.full_key or "configuration"
    reason = str(error).splitlines()[0].strip().rstrip(".")
    value = getattr(error, "value", None)
    if isinstance(error, InterpolationKeyError):
        name = (re.findall(r"'([^']*)'", reason) or [""])[0]
        return (
            f"{key} contains ${{{name}}}, but the configuration has no key {name}: write the value itself. (In single "
            f"quotes, the shell does not fill in variables such as $HOME.)"
        )
    if error.key is not None and ("not in '" in reason or "not in struct" in reason):
        return f"{key} is not a key of the configuration; {_hint(error, key, schema)}"
    if "does not support deletion" in reason:
        return f"{key} cannot be taken out, because every configuration has it; ~ is for what was added below a key."
    if key.rpartition(".")[2] == IMAGE_SIZE and value is not None:
        return f"{key} must be [height,width], such as {key}={as_size(str(value))}, not {value}."
    if "is not a subclass of" in reason and error.full_key:
        return f"{key} is a section, and {value} is no set of keys: write {key}.NAME=VALUE."
    for words, wanted in _WANTED.items():
        if words in reason and error.full_key:
            return f"{key} must be {wanted}, not {value}."
    return f"{key}: {reason}."


def _hint(error: OmegaConfBaseException, key: str, schema: Any) -> str:
    """The end of the sentence about an unknown key."""
    if key.startswith(f"{LAUNCHER}.") and (others := launchers_with(str(error.key))):
        return f"{' and '.join(others)} has it."
    section = error.object_type
    if not is_dataclass(section):  # names of its own, such as those of datasets
        known: list[Any] = list(getattr(error.parent_node, "keys", list)())
        close = get_close_matches(str(error.key), map(str, known), n=3)
        before = key.rpartition(".")[0]
        return f"did you mean {before}.{close[0]}?" if close else f"write +{key}=... to add it."
    of_hydra = key.startswith("hydra.")
    meant = [] if of_hydra or schema is None else Keys.of(schema).meant_by(key)[0]
    known = list(section.__dataclass_fields__)
    close = [] if meant else get_close_matches(str(error.key), known, n=3, cutoff=0.5)
    meant = meant or [f"{key.rpartition('.')[0]}.{one}".lstrip(".") for one in close]
    return f"did you mean {' or '.join(meant)}?" if meant else f"there are {', '.join(known) or 'none'}."


_WANTED = {
    "converted to Integer": "a whole number",
    "converted to Float": "a number",
    "Union[int, str]": "a whole number, or auto",
    "Union[int, float]": "a number of batches, or a share of them such as 0.5",
    "Union[bool, int]": "true, false or a number of batches",
    "is not a valid bool": "true or false",
    "is not a ListConfig": "a list in brackets, such as [1,2] or [a]",
    "to Dict[": "names with values, such as {a: 1}",
    "to string": "text",
}
"""Words in OmegaConf's reason -> what is wanted."""
