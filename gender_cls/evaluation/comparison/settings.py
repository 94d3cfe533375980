"""What a run was started with: which settings make it another candidate, and which of them vary between candidates."""

import json
import os
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gender_cls.config.parsing import by_dotted_key
from gender_cls.config.train import OPEN_GROUPS
from gender_cls.evaluation.wording import MISSING
from gender_cls.runs.exported_run import ExportedRun
from gender_cls.runs.run import Run

NOT_COMPARED = {
    *("seed", "name", "tags", "notes", "output_dir", "data.fold", "data.num_workers", "data.licence"),
    *("data.cache", "data.cache_gigabytes", "data.cache_days"),
    *("trainer.devices", "trainer.num_nodes", "trainer.threads", "trainer.resume", "trainer.progress_bar"),
    *("trainer.deterministic", "trainer.profiler"),
}
"""Keys of the configuration that may differ within a candidate; so may all keys of NOT_COMPARED_SECTIONS."""

NOT_COMPARED_SECTIONS = ("explain", "evaluation", "search", "loggers", "data_roots")

OF_THE_DATASET = {
    *("data.root", "data.csv", "data.importer", "data.published_split", "data.leave_out"),
    *("data.pattern", "data.aliases.FEMALE", "data.aliases.MALE", "data.corrections"),
}
"""Keys that say which images there are and not what is done with them: without them, a candidate is a method."""

MOST_IN_TITLE = 2  # settings that vary between the methods of one model and are named in their titles; else numbers


@dataclass(frozen=True, eq=False)
class Described:
    """A run and its configuration."""

    run: Run
    # The chosen file of the group `model`, or the name of the network where that leaves it open; with the format of an
    # exported model.
    model: str
    choices: dict[str, str]  # the chosen files of the other groups
    settings: dict[str, Any]  # by dotted key; empty if the configuration was not kept

    @property
    def compared(self) -> dict[str, Any]:
        """The settings that make it another candidate."""
        return {key: value for key, value in self.settings.items() if _matters(key)}

    @property
    def seed(self) -> Hashable:
        """The seed; without a configuration every run counts as a seed of its own."""
        return self.settings.get("seed") if self.settings else self.run.folder

    @property
    def trial(self) -> Hashable:
        """Seed and fold: of the runs of a candidate with the same trial, one counts."""
        return self.seed, self.settings.get("data.fold", 0)


def describe(run: Run) -> Described:
    """Read the configuration of a run."""
    # Of several files of an open group Hydra records none: the keys tell what was chosen.
    choices = {group: name for group, name in run.choices.items() if "/" not in group and group not in OPEN_GROUPS}
    settings = by_dotted_key(run.settings)
    model = choices.pop("model", None)
    if model is not None and model == settings.get("model.library"):  # model=timm model.name=...
        model = settings.get("model.name") or model
    model = model or run.metrics.get("model") or run.status.get("model") or run.folder.name
    if isinstance(run, ExportedRun):
        model = f"{model} ({run.title})"
        settings = settings and {**settings, "exported": run.title}
    return Described(run, str(model), choices, settings)


def varied_settings(candidates: Sequence[Described]) -> list[dict[str, str]]:
    """For each candidate, the settings that vary between the candidates, in the order of the configuration.

    A chosen file stands for the settings that follow from it, and the model is not among them.
    """
    configured = [one for one in candidates if one.settings]
    groups = dict.fromkeys(group for one in configured for group in one.choices if _matters(group))
    columns = {}
    for group in groups:
        if len({one.choices.get(group) for one in configured}) > 1:
            columns[group] = [one.choices.get(group, MISSING) for one in candidates]
    for key in dict.fromkeys(key for one in configured for key in one.compared):
        section = key.partition(".")[0]
        files = [one.model if section == "model" else one.choices.get(section) for one in configured]
        values = [str(one.settings.get(key)) for one in configured]
        if len(set(zip(files, values, strict=True))) > len(set(files)):
            columns[key] = [_shown(one.settings[key]) if key in one.settings else MISSING for one in candidates]
    short = {key: _without_common_folder(values) for key, values in columns.items()}
    return [{key: values[index] for key, values in short.items()} for index in range(len(candidates))]


def method_of(candidate: Described) -> tuple[str, Described]:
    """A candidate without its dataset, and a text that is equal for candidates of the same method."""
    settings = {key: value for key, value in candidate.settings.items() if key not in OF_THE_DATASET}
    choices = {group: choice for group, choice in candidate.choices.items() if group != "data"}
    method = replace(candidate, settings=settings, choices=choices)
    return json.dumps([method.model, method.compared], sort_keys=True, default=str), method


def method_titles(methods: Sequence[Described]) -> list[str]:
    """Titles that tell methods apart: their models; where some share one, with what varies between these."""
    models = Counter(one.model for one in methods)
    titles = []
    for one in methods:
        same = [other for other in methods if other.model == one.model]
        varied = varied_settings(same)[same.index(one)]
        shown = ", ".join(f"{key}={value}" for key, value in varied.items())
        if not 0 < len(varied) <= MOST_IN_TITLE:
            shown = f"method {same.index(one) + 1}"
        titles.append(one.model if models[one.model] == 1 else f"{one.model} ({shown})")
    return titles


def _matters(key: str) -> bool:
    return key not in NOT_COMPARED and key.partition(".")[0] not in NOT_COMPARED_SECTIONS


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


def _without_common_folder(values: Sequence[str]) -> list[str]:
    """Absolute paths without the folder that all of them have in common; other values as they are."""
    paths = [value for value in values if os.path.isabs(value)]
    if len(set(paths)) < 2:
        return [os.path.basename(value) if value in paths else value for value in values]
    common = os.path.commonpath(paths)
    return [os.path.relpath(value, common) if value in paths else value for value in values]
