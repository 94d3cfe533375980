"""The key that somebody means who typed its name in another program, or misspelt it. Imports no torch."""

import re
import shlex
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any, Union, get_args, get_origin

from gender_cls.config.checks import Rule
from gender_cls.config.launcher import LAUNCHER, LAUNCHERS
from gender_cls.errors import GenderClsError

OTHER_NAMES = {
    "recipe.lr": "learning_rate lr0 base_lr max_lr init_lr",
    "recipe.weight_decay": "wd l2",
    "recipe.optimizer": "opt optim optimizer_name",
    "recipe.label_smoothing": "smoothing",
    "recipe.patience": "early_stopping early_stop early_stopping_patience",
    "recipe.gradient_clip": "gradient_clip_val clip_grad grad_clip max_grad_norm",
    "recipe.frozen_epochs": "freeze freeze_backbone freeze_epochs",
    "recipe.warmup_epochs": "warmup",
    "recipe.ema_decay": "ema model_ema use_ema",
    "recipe.monitor": "metric",
    "trainer.max_epochs": "epochs epoch num_epochs n_epochs num_train_epochs max_steps min_epochs",
    "trainer.max_time": "time_limit",
    "trainer.val_check_interval": "check_val_every_n_epoch val_interval eval_interval eval_steps",
    "trainer.deterministic": "benchmark cudnn_benchmark cudnn_deterministic",
    "trainer.fast_dev_run": "debug dry_run smoke_test",
    "trainer.accumulate": "accumulate_grad_batches grad_accum gradient_accumulation_steps",
    "trainer.devices": "gpus gpu num_gpus n_gpus ngpu device strategy",
    "trainer.num_nodes": "nodes nnodes",
    "trainer.accelerator": "device gpu",
    "accelerator": "device gpu",
    "trainer.precision": "amp use_amp mixed_precision fp16 half bf16",
    "precision": "amp use_amp mixed_precision fp16 half bf16",
    "trainer.progress_bar": "enable_progress_bar verbose",
    "progress_bar": "enable_progress_bar verbose",
    "model.weights": "checkpoint ckpt ckpt_path initial_checkpoint load_from init_from",
    "trainer.resume": "ckpt_path resume_from resume_from_checkpoint auto_resume",
    "run": "runs sweep model model_path weights checkpoint ckpt ckpt_path",
    "runs": "run sweep sweeps",
    "images": "image source input inputs path dir folder files",
    "data.batch_size": "bs b batch batches train_batch_size per_device_train_batch_size",
    "num_workers": "workers n_workers j",
    "data.num_workers": "workers n_workers j",
    "data.image_size": "img_size imgsz size input_size resolution",
    "data.root": "data_dir data_path data_root dataset_path root_dir train_dir image_dir path dir folder dataset data",
    "data.csv": "csv_file annotations table",
    "data.pattern": "regex",
    "data.val_fraction": "val_split val_size val_ratio",
    "data.test_fraction": "test_split test_size test_ratio",
    "data.folds": "kfold k_folds n_folds num_folds n_splits",
    "data.limit": "max_samples num_samples subset",
    "model": "backbone arch architecture model_name network encoder",
    "model.dropout": "drop drop_rate",
    "augment": "augmentation augmentations aug",
    "augment.flip": "hflip horizontal_flip",
    "augment.erase": "random_erasing reprob",
    "seed": "seed_everything random_seed random_state manual_seed",
    "output_dir": "output out out_dir outdir output_path save_dir log_dir logdir default_root_dir work_dir project",
    "name": "exp_name run_name experiment_name",
    "experiment": "exp preset",
    "loggers": "logger wandb use_wandb mlflow comet",
    "callbacks": "callback enable_model_summary",
    "tags": "tag",
    "notes": "note comment description",
    "search.trials": "n_trials",
    "launcher.jobs_at_once": "n_jobs",
}
"""Key or group -> names that it has in other programs, where they differ in more than the section."""

OTHER_MEANING = {
    *("maxsteps", "minepochs", "checkvaleverynepoch", "valinterval", "evalinterval", "evalsteps"),
    *("benchmark", "cudnnbenchmark", "strategy"),
}
"""Names whose values count or switch something else here: the key is told, and its value is not taken over."""

OTHER_VALUES = {
    "precision": {
        **{"16": "16-mixed", "fp16": "16-mixed", "half": "16-mixed", "bf16": "bf16-mixed", "32": "32-true"},
        **{"64": "64-true", "true": "auto", "false": "32-true"},
    },
    "accelerator": {"cuda:0": "cuda", "gpu:0": "gpu"},
}
"""Last part of a key -> names that its values have in other programs."""

_NO_HINT = {"name", "enabled"}  # sections of many programs have them, and they mean something else in each
_HIDDEN = "default_data."  # nobody types it; see config.local_defaults
_SHOWN = 3  # so many keys, if it is not clear which one is meant


@dataclass(frozen=True)
class Keys:
    """What can be set in a command."""

    settings: Mapping[str, Field[Any]]  # whole keys, such as recipe.lr
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)  # and the names of their files

    @classmethod
    def of(cls, schema: Any, groups: Mapping[str, Sequence[str]] | None = None) -> "Keys":
        """All keys of a schema, with those of every launcher if it has one."""
        settings = {key: one for key, one in _settings(schema) if not key.startswith(_HIDDEN)}
        if any(one.name == LAUNCHER for one in fields(schema)):
            for launcher in LAUNCHERS.values():
                settings |= _settings(launcher, f"{LAUNCHER}.")
        return cls(settings, groups or {})

    def has(self, key: str) -> bool:
        """Whether the key, a section or a group of this name exists; sections with free keys have any."""
        if key in self.groups or any(one.startswith(f"{key}.") for one in self.settings):
            return True
        parents = (key[: found.start()] for found in re.finditer(r"\.|$", key))
        found = next((self.settings[one] for one in parents if one in self.settings), None)
        return found is not None and (key in self.settings or get_origin(found.type) is dict or found.type is Any)

    def meant_by(self, key: str) -> tuple[list[str], bool]:
        """The keys and groups that a name may mean, and whether it is a known name of them, not a misspelt one."""
        section, _, leaf = key.rpartition(".")
        places = [*self.settings, *self.groups]
        if same := [one for one in places if _letters(one) == _letters(key)]:
            return same, True
        if leaf not in _NO_HINT:
            renamed = [one for one in OTHER_NAMES if one in places and _letters(leaf) in _other_names(one)]
            if found := renamed or [one for one in places if _letters(_leaf(one)) == _letters(leaf)]:
                own = [one for one in found if section and one.startswith(f"{section}.")]
                plain = [one for one in found if one == _leaf(one) or _leaf(one) not in found]
                return (own or plain)[:_SHOWN], True
        inside = {_leaf(one): one for one in places if one.rpartition(".")[0] == section}
        if section and inside:
            close = get_close_matches(leaf, inside, n=1, cutoff=0.9) or get_close_matches(leaf, inside, _SHOWN, 0.5)
            return [inside[one] for one in close], False
        if section and (found := self.meant_by(section)[0]):  # backbone.name, optimizer.type
            return found, False
        if leaf in _NO_HINT:
            return [], False
        spellings = {name: one for one in places for name in (_letters(_leaf(one)), *_other_names(one))}
        close = get_close_matches(_letters(leaf), spellings, n=_SHOWN, cutoff=0.75)
        return list(dict.fromkeys(spellings[one] for one in close)), False

    def written(self, key: str, typed: str, value: str | None) -> str:
        """The setting of this key that does what `typed=value` was meant to do; its value is UNCLEAR if none fits.

        Args:
            typed: the name as it was given, which may say more than the key: `wandb=true`, `bf16=true`.
            value: None for a flag without a value.
        """
        if key in self.groups:
            return for_shell(self._choice(key, _leaf(typed), value))
        if _letters(_leaf(typed)) in OTHER_MEANING:
            return f"{key}={UNCLEAR}"
        setting, leaf = self.settings[key], _leaf(key)
        other = OTHER_VALUES.get(leaf, {})
        if value is None or value.lower() == "true":
            value = other.get(_leaf(typed).lower(), value)
        if setting.type is bool and (value is None or not _fits(setting, value)):
            value = "true"
        value = as_size(value or "") if leaf == IMAGE_SIZE else other.get((value or "").lower(), value)
        if value and all(_fits(setting, one) for one in ([value] if value.startswith("[") else value.split(","))):
            return for_shell(f"{key}={value}")
        return f"{key}={UNCLEAR}"

    def _choice(self, group: str, typed: str, value: str | None) -> str:
        names = self.groups[group]
        if value in names or typed in names:
            return f"{group}={value if value in names else typed}"
        if value and group == "data":
            return data_setting(value)
        if value and group == "model" and is_model_name(value):
            return f"{group}=timm model.name={value}"
        return f"{group}={UNCLEAR}"


IMAGE_SIZE = "image_size"
UNCLEAR = "VALUE"


def as_size(value: str) -> str:
    """`[height,width]` from 224, 256x128, (256, 128) or 256,128; the value itself if it is none of them."""
    sides = re.fullmatch(r"\W*(\d+)(?:\s*[x*,; ]\s*(\d+))?\W*", value)
    return value if sides is None else f"[{sides[1]},{sides[2] or sides[1]}]"


def data_setting(path: str) -> str:
    """The setting that names this path as the data: of a table, or of a folder."""
    return f"{'data.csv' if path.lower().endswith(('.csv', '.tsv', '.txt')) else 'data.root'}={path}"


def is_model_name(text: str) -> bool:
    """Whether it may be timm's name of a model, with or without a tag."""
    return re.fullmatch(r"\w+([.]\w+)?", text) is not None


def for_shell(argument: str) -> str:
    """The argument as it is typed in a shell."""
    return argument if re.fullmatch(r"[\w=.,/~+:@% -]+", argument) else shlex.quote(argument)


def _settings(schema: Any, prefix: str = "") -> Iterator[tuple[str, Field[Any]]]:
    for one in fields(schema):
        key = f"{prefix}{one.name}"
        yield from _settings(one.type, f"{key}.") if is_dataclass(one.type) else [(key, one)]


def _leaf(key: str) -> str:
    return key.rpartition(".")[2]


def _letters(key: str) -> str:
    return re.sub(r"[\W_]", "", key).lower()


def _other_names(key: str) -> list[str]:
    return [_letters(name) for name in OTHER_NAMES.get(key, "").split()]


def _fits(setting: Field[Any], value: str) -> bool:
    """Whether a setting can have the value that these letters stand for."""
    rule: Rule | None = setting.metadata.get("rule")
    kinds = get_args(setting.type) if get_origin(setting.type) in (Union, types.UnionType) else (setting.type,)
    for kind in kinds:
        try:
            one = _read(kind, value)
            if rule is not None and not rule.path and one is not None:
                rule.check(setting.name, one)
        except (ValueError, GenderClsError, TypeError):
            continue
        return True
    return False


def _read(kind: Any, value: str) -> Any:
    """The value as this type; ValueError or TypeError if it is none."""
    brackets = {bool: ("true", "false"), types.NoneType: ("null", "none"), list: ("[",), dict: ("{",)}
    if begins := brackets.get(get_origin(kind) or kind):
        if not value.lower().startswith(begins):
            raise ValueError(value)
        return None if kind is types.NoneType else value
    return kind(value) if isinstance(kind, type) and issubclass(kind, int | float | Enum) else value
