"""From a composed configuration to checked dataclasses, and back to plain values.

A misspelt key, a wrong type or a value out of range fails here, before any work begins, whether it came from an
override, a YAML file or a sweep.
"""

import copyreg
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gender_cls.config.audit import AuditConfig
from gender_cls.config.checks import absolute, check_config, make_paths_absolute
from gender_cls.config.data import DataConfig, DemoConfig, Importer
from gender_cls.config.evaluation import CompareConfig, EvaluateConfig
from gender_cls.config.explain import ExplainRunConfig
from gender_cls.config.export import ExportConfig
from gender_cls.config.launcher import LAUNCHER, LauncherConfig
from gender_cls.config.predict import PredictConfig
from gender_cls.config.sentences import config_sentence
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError, one_line, require

_package = Path(__file__).resolve().parents[1]
CONFIG_FOLDER = next(folder for folder in (_package / "conf", _package.parent / "conf") if folder.is_dir())
"""Inside the package when installed from a wheel, next to it in a clone."""

Schema = TypeVar("Schema")

DATA_ROOTS = "data_roots"
"""The section of a composed configuration that says where each dataset lies, for `conf/data/*.yaml`. It belongs to this
machine, so no schema has it, and no run records it: `data.root` has the folder that was used."""

DEFAULT_DATA = "default_data"
"""The section that names the data where nothing else does (`config.local_defaults`); no run records it either."""


@dataclass
class DefaultData:
    root: str | None = None
    csv: str | None = None


@dataclass
class DataRoots:
    """The sections of a composed configuration that are in no schema."""

    data_roots: dict[str, str | None] = field(default_factory=lambda: dict.fromkeys(one.value for one in Importer))
    default_data: DefaultData = field(default_factory=DefaultData)


@dataclass
class ComposedTrain(DataRoots, Config):
    """What Hydra composes for training."""

    launcher: LauncherConfig = field(default_factory=LauncherConfig)


@dataclass
class ComposedAudit(DataRoots, AuditConfig):
    """What Hydra composes for an audit."""


@dataclass
class ComposedEvaluate(DataRoots, EvaluateConfig):
    """What Hydra composes for an evaluation."""


@dataclass
class ComposedPredict(DataRoots, PredictConfig):
    """What Hydra composes for predictions."""


COMPOSED: dict[str, type] = {
    "train": ComposedTrain, "audit": ComposedAudit, "evaluate": ComposedEvaluate, "compare": CompareConfig,
    "predict": ComposedPredict, "export": ExportConfig, "explain": ExplainRunConfig, "demo": DemoConfig,
}  # fmt: skip
"""Command -> what Hydra composes for it."""

for _command, _schema in COMPOSED.items():
    ConfigStore.instance().store(name=f"{_command}_schema", node=_schema)

_local_defaults = ""


def store_local_defaults(written: str) -> ConfigStore:
    """Keep the node `local_defaults` of `conf/*.yaml`, given as YAML, in Hydra's store of schemas, and return that."""
    global _local_defaults
    store = ConfigStore.instance()
    if written != _local_defaults:
        store.store(name="local_defaults", node=OmegaConf.to_container(OmegaConf.create(written), resolve=False))
        _local_defaults = written
    return store


store_local_defaults("{}")

# Hydra copies its only store again and again, which takes long: let a copy be the store itself. In a job's own process
# it is the store of that process, with the local defaults of the command.
copyreg.pickle(ConfigStore, lambda _: (store_local_defaults, (_local_defaults,)))
OmegaConf.register_new_resolver("absolute", absolute, replace=True)


def parse_config(composed: DictConfig | dict[str, Any], schema: type[Schema]) -> Schema:
    """The composed configuration as checked dataclasses; GenderClsError names an unknown key or a wrong value."""
    config = typed_config(composed, schema)
    check_config(config)
    return config


def recorded_config(file: Path) -> Config:
    """The configuration that a run was started with, whose files may be gone; GenderClsError if it cannot be read."""
    return typed_config(_recorded_values(file), Config)


def recorded_data(file: Path) -> DataConfig:
    """The section `data` of such a configuration alone, so that other sections may be of another version."""
    return typed_config(_recorded_values(file).get("data") or {}, DataConfig)


def _recorded_values(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise GenderClsError(f"{file} is missing: the folder of a run holds its configuration there.")
    return without_removed_values(written_values(file))


def written_values(file: Path) -> dict[Any, Any]:
    """The content of a YAML file, or nothing if there is none. `${...}` stays as it is: nothing is computed.

    Raises:
        GenderClsError: it is no YAML file, or it holds no keys.
    """
    if not file.is_file():
        return {}
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except Exception as error:  # YAML, OmegaConf and the disk have errors of their own
        raise GenderClsError(f"{file} cannot be read as a configuration ({one_line(error)}): restore it.") from None
    require(isinstance(content, dict), f"{file} holds no configuration: restore it.")
    return content


def without_removed_values(recorded: dict[str, Any]) -> dict[str, Any]:
    """The settings of an earlier version's run, with values that still exist: `data.cache` could be ram."""
    data = recorded.get("data")
    if not isinstance(data, dict):
        return recorded
    return {**recorded, "data": {**data, "cache": "disk"}} if data.get("cache") == "ram" else recorded


def typed_config(composed: DictConfig | dict[str, Any], schema: type[Schema]) -> Schema:
    """The composed configuration as dataclasses with absolute paths; of its values only the types are checked."""
    try:
        created = OmegaConf.create(composed)
        _refuse_resolvers(OmegaConf.to_container(created, resolve=False))
        values: Any = OmegaConf.to_container(created, resolve=True)
        name_default_data(values)
        for of_this_machine in (DATA_ROOTS, LAUNCHER):
            values.pop(of_this_machine, None)
        # Hydra lets `+recipe.lrr=1` add a key that nobody reads; merging into the schema refuses it.
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values))
    except OmegaConfBaseException as error:
        raise GenderClsError(config_sentence(error, schema)) from None
    assert isinstance(config, schema)
    make_paths_absolute(config)
    return config


def group_options(group: str, own: str | None = None) -> list[str]:
    """The names of a group's files in `conf/`, sorted, with those in `own`, a folder of the user's."""
    folders = [CONFIG_FOLDER, *([Path(own)] if own else [])]
    return sorted({file.stem for folder in folders for file in (folder / group).glob("*.yaml")})


def name_default_data(values: dict[str, Any]) -> None:
    """Take the section `default_data` out of a configuration, and put its values into `data` if that names no data."""
    default, data = values.pop(DEFAULT_DATA, {}), values.get("data", {})
    if all(data.get(key) is None for key in ("root", "csv", "importer")):
        data |= {key: value for key, value in default.items() if value is not None}


def _refuse_resolvers(written: Any, key: str = "configuration") -> None:
    """Refuse `${oc.env:...}` and the like: the configuration of somebody else must not read the environment here."""
    if isinstance(written, dict):
        for name, value in written.items():
            _refuse_resolvers(value, str(name) if key == "configuration" else f"{key}.{name}")
    elif isinstance(written, list):
        for value in written:
            _refuse_resolvers(value, key)
    elif isinstance(written, str) and re.search(r"\$\{.*:.*\}", written, re.DOTALL):
        raise GenderClsError(f"{key}={written} is computed by a function of OmegaConf: write the value itself.")


def to_plain(config: Config | AuditConfig | DataConfig) -> dict[str, Any]:
    """The configuration, or its section, as nested dicts of plain values, for checkpoints and JSON files."""
    plain: Any = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    return plain


def by_dotted_key(settings: dict[Any, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested settings by their whole keys, such as `data.root`; an empty section has none."""
    values: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        values |= by_dotted_key(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return values
