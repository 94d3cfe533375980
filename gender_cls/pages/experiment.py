"""What an experiment was, in words: the same in reports, leaderboards and TensorBoard."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from gender_cls.config.data import CLASSES, SPLITS
from gender_cls.config.optimizers import DEFAULT
from gender_cls.errors import count, of_people
from gender_cls.evaluation.wording import listed, words
from gender_cls.runs.run import Run

_PEOPLE = {"identity": "person"}  # words of the settings -> words for readers
_SPLITS = {"val": "validation"}


def experiment_facts(run: Run) -> list[tuple[str, str]]:
    """Names and values of what the experiment was, in the order in which readers ask for them.

    They come from the run's configuration, `data.json`, `status.json` and command; what these do not say is left out.
    So a run that has just begun has facts too.

    Raises:
        GenderClsError: one of the files is damaged.
    """
    settings, data, status, choices = run.settings, run.data, run.status, run.choices
    sections = {name: settings.get(name) or {} for name in ("data", "model", "augment", "recipe", "trainer")}
    facts = {
        "preset": choices.get("experiment"),
        "dataset": _dataset(data, choices),
        **{_SPLITS.get(split, split): _images(data.get(split)) for split in SPLITS},
        "split": _split(data, sections["data"]),
        "model": status.get("model"),
        "weights": _weights(sections["model"]),
        "image size": _size(sections["data"]),
        "recipe": choices.get("recipe"),
        "optimizer": _optimizer(sections["recipe"]),
        "epochs": _epochs(sections["trainer"]),
        "debugging run": run.debugging,
        "tags": ", ".join(map(str, settings.get("tags") or [])),
        "notes": settings.get("notes"),
        "ended": status.get("ended"),
        "best epoch": _best_epoch(status),
        "learning rate": _number(sections["recipe"].get("lr")),
        "batch": _batch(sections, status),
        "augmentation": choices.get("augment") or _switched_on(sections["augment"]),
        "seed": _number(settings.get("seed")),
        "computed": _computed(status),
        "command": run.command,
        "version": _version(status.get("environment") or {}),
        "git commit": (status.get("environment") or {}).get("commit"),
        "git commit of the current folder": (status.get("environment") or {}).get("project_commit"),
        "started": str(status.get("started") or "")[:16].replace("T", " "),
    }
    return [(name, value) for name, value in facts.items() if value]


def experiment_text(run: Run) -> str:
    """`experiment_facts` as a list in Markdown."""
    return "\n".join(f"- **{name}**: {value}" for name, value in experiment_facts(run))


def _dataset(data: Mapping[str, Any], choices: Mapping[str, str]) -> str | None:
    root, choice = data.get("root"), choices.get("data")
    return f"{choice}, in {root}" if root and choice not in (None, "folders") else root


def _images(split: Mapping[str, int] | None) -> str | None:
    """`420 images of 70 people: 210 FEMALE, 210 MALE`."""
    if not split:
        return None
    labels = ", ".join(f"{count(split[label])} {label}" for label in CLASSES)
    return f"{of_people(split['images'], 'image', split['identities'])}: {labels}"


def _split(data: Mapping[str, Any], settings: Mapping[str, Any]) -> str | None:
    origin = data.get("split_origin")
    if origin is None:
        return None
    missing = data.get("missing_splits") or []
    seed = f"split seed {settings.get('split_seed')}"
    if origin == "made":
        told = f"made by {_PEOPLE.get(kind := str(settings.get('split_by')), kind)}, {seed}"
        if settings.get("leave_out") is not None:
            told += f", test is {kind} {settings['leave_out']}"
        elif settings.get("folds") is not None:
            told += f", test is fold {settings.get('fold')} of {settings['folds']} (counted from 0)"
    else:
        told = f"{origin} with the data"
        told += f" ({settings['published_split']})" if settings.get("published_split") is not None else ""
        names = listed(_SPLITS.get(name, name) for name in missing)
        told += f", but {names} taken from train ({seed})" if missing else ""
    if settings.get("val_by") in ("camera", "source"):
        told += f", validation is whole {settings['val_by']}s"
    return f"{told}; it leaks" if data.get("leaky") else told


def _weights(model: Mapping[str, Any]) -> str | None:
    """A local file is named without its folder: it may be anywhere, and its name says what it is."""
    if not model:
        return None
    if model.get("weights") is not None:
        return PurePath(str(model["weights"])).name
    return f"pretrained, from {model.get('library')}" if model.get("pretrained") else "random"


def _size(data: Mapping[str, Any]) -> str | None:
    if not data.get("image_size"):
        return None
    height, width = data["image_size"]
    return f"{height} x {width} (height x width), {data.get('resize_mode')}"


def _optimizer(recipe: Mapping[str, Any]) -> str | None:
    """`sgd, momentum 0.95, nesterov False`; nothing for the default without options."""
    name, momentum = recipe.get("optimizer"), recipe.get("momentum")
    options = {"momentum": momentum} if momentum is not None else {}
    options |= recipe.get("optimizer_options") or {}
    if name is None or (name == DEFAULT and not options):
        return None
    return ", ".join([str(name), *(f"{words(str(option))} {value}" for option, value in options.items())])


def _epochs(trainer: Mapping[str, Any]) -> str | None:
    return f"at most {most}" if (most := trainer.get("max_epochs")) is not None else None


def _best_epoch(status: Mapping[str, Any]) -> str | None:
    best = status.get("best_epoch")
    return None if best is None else f"{best}, by validation"


def _batch(sections: Mapping[str, Mapping[str, Any]], status: Mapping[str, Any]) -> str | None:
    """The batch that was used: it may have been halved because memory was short."""
    used = status.get("batch") or {}
    size = used.get("size", sections["data"].get("batch_size"))
    steps = used.get("accumulate", sections["trainer"].get("accumulate", 1))
    return None if size is None else f"{size}" if steps == 1 else f"{size}, {steps} of them to a step"


def _computed(status: Mapping[str, Any]) -> str | None:
    """On which device, and in which precision."""
    resources = status.get("resources") or {}
    precision, device = status.get("precision") or resources.get("precision"), resources.get("device")
    return ", ".join(str(part) for part in (device, precision) if part)


def _switched_on(section: Mapping[str, Any]) -> str | None:
    if not section:
        return None
    return ", ".join(f"{words(str(key))} {value}" for key, value in section.items() if value) or "none"


def _version(environment: Mapping[str, str]) -> str:
    """Of this package and of those that decide what a network computes."""
    return ", ".join(f"{name} {environment[name]}" for name in ("gender_cls", "torch", "timm") if name in environment)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:g}" if isinstance(value, float) else str(value)
