"""What Hydra composed -> checked dataclasses, and back to plain values.

A misspelt key, a wrong type or a value out of range fails here, whichever door it came through (override, YAML file,
sweep), before any work is done.
"""

from difflib import get_close_matches
from typing import Any, TypeVar

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gender_cls.config import AuditConfig, Config, DemoConfig
from gender_cls.errors import GenderClsError

ConfigStore.instance().store(name="train_schema", node=Config)
ConfigStore.instance().store(name="audit_schema", node=AuditConfig)
ConfigStore.instance().store(name="demo_schema", node=DemoConfig)

Schema = TypeVar("Schema", Config, AuditConfig, DemoConfig)


def parse_config(composed: DictConfig | dict[str, Any], schema: type[Schema]) -> Schema:
    """The composed configuration as checked dataclasses.

    Hydra lets `+recipe.lrr=1` add a key that nobody reads; merging into the schema once more refuses it.

    Raises:
        GenderClsError: an unknown key, a wrong type, or a value out of range.
    """
    try:
        values = OmegaConf.to_container(OmegaConf.create(composed), resolve=True)
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values))
    except OmegaConfBaseException as error:
        raise GenderClsError(config_sentence(error)) from None
    assert isinstance(config, schema)
    config.check()
    return config


def to_plain(config: Config) -> dict[str, Any]:
    """The same as nested dicts of plain values: what checkpoints and JSON files hold."""
    plain = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def config_sentence(error: OmegaConfBaseException) -> str:
    """OmegaConf's complaint in one sentence that names the whole key and, for a misspelt one, its neighbours."""
    key = error.full_key or "configuration"
    reason = str(error).splitlines()[0].strip().rstrip(".")
    if error.key is not None and isinstance(error.ref_type or error.object_type, type) and "not in" in reason:
        known = list(getattr(error.object_type, "__dataclass_fields__", {}))
        return f"{key} is no key of the configuration; {_suggestion(str(error.key), known)}"
    return f"{key}: {reason}."


def _suggestion(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}."
