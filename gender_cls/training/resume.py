"""Whether a run can go on from its last checkpoint: only settings that change no result may differ."""

from pathlib import Path
from pickle import UnpicklingError

import torch

from gender_cls.config.checks import absolute
from gender_cls.config.parsing import by_dotted_key, to_plain
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run
from gender_cls.training.batch import images_per_step

MAY_CHANGE_ON_RESUME = (
    "name", "output_dir", "trainer", "explain", "evaluation", "data.batch_size", "data.num_workers", "data.cache",
    "model.weights", "recipe.grad_checkpointing",
)  # fmt: skip


def checkpoint_to_resume(config: Config, run: Run) -> Path | None:
    """The run's last checkpoint, or None; GenderClsError if it is damaged or was written with other settings.

    `data.batch_size` and `trainer.accumulate` may change as long as their product stays.
    """
    if not run.last_checkpoint.exists():
        return None
    try:
        content = torch.load(run.last_checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, UnpicklingError) as error:
        raise GenderClsError(f"{run.last_checkpoint} is damaged: remove it to begin this run again.") from error
    began, now = map(by_dotted_key, (content["hyper_parameters"]["config"], to_plain(config)))
    for key in ("data.root", "data.csv", "data.corrections"):
        if began.get(key) is not None:  # an earlier version recorded paths as they were typed
            began[key] = absolute(began[key])
    for key in sorted(began.keys() | now.keys()):
        if began.get(key) != now.get(key) and not key.startswith(MAY_CHANGE_ON_RESUME):
            raise GenderClsError(
                f"{run.folder} was begun with {key}={began.get(key)}, not {now.get(key)}: resume it with the same "
                f"settings (other than {', '.join(MAY_CHANGE_ON_RESUME)}), or start a new run."
            )
    then, wanted = (images_per_step(one["data.batch_size"], one.get("trainer.accumulate", 1)) for one in (began, now))
    if then != wanted:
        raise GenderClsError(
            f"{run.folder} was begun with {then} images a step, not {wanted}: resume it with the same product of "
            "data.batch_size and trainer.accumulate, or start a new run."
        )
    return run.last_checkpoint
