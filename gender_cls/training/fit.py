"""Training in a run's folder: what is done once, by the process that has the folder; the devices work in sessions."""

import logging
import traceback

from gender_cls.config.train import Config
from gender_cls.data.prepare import PreparedData
from gender_cls.data.record import record_data
from gender_cls.errors import error_sentence
from gender_cls.runs.nodes import meet
from gender_cls.runs.run import Run
from gender_cls.system.memory import is_out_of_memory, release_memory
from gender_cls.system.resources import Resources
from gender_cls.training.auto_batch_size import choose_batch, smaller_batch
from gender_cls.training.batch import recorded_batch
from gender_cls.training.launch import train_in_ranks
from gender_cls.training.open_groups import check_open_groups
from gender_cls.training.optimizer import check_optimizer
from gender_cls.training.resume import check_machine
from gender_cls.training.session import Describe, MoreCallbacks, checkpoint_to_resume, train_session

log = logging.getLogger(__name__)


def fit(
    config: Config,
    run: Run,
    prepared: PreparedData,
    resources: Resources,
    more_callbacks: MoreCallbacks,
    describe: Describe = lambda _: "",
) -> None:
    """Leave `data.json`, checkpoints and TensorBoard events in the run's folder; the test split is not used.

    A run whose training has ended is left alone. When memory runs out, training goes on with a smaller batch.
    """
    warn_of_frozen_backbone(config)
    check_optimizer(config.recipe)
    check_open_groups(config)
    record_data(config, run, prepared)
    if run.status.get("fitted"):
        return
    if checkpoint_to_resume(config, run) is not None:  # a run that cannot be resumed fails here
        check_machine(run, resources)
    batch = choose_batch(config, run, resources)
    while True:
        try:
            if resources.devices == 1 and config.trainer.num_nodes == 1:
                train_session(config, run, prepared.manifest, prepared.images, resources, more_callbacks, describe)
            else:
                meeting = meet(config.trainer.num_nodes, config.output_dir)
                train_in_ranks(run, prepared.images, list(prepared.manifest.table["path"]), resources.devices, meeting)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)
            failure = error_sentence(error)
        else:
            return
        release_memory()  # outside `except`, where nothing refers to the trainer and the classifier any longer
        batch = smaller_batch(config, run, recorded_batch(config, run) or batch, failure)


def warn_of_frozen_backbone(config: Config) -> None:
    """Log a warning if the head alone is trained, or if a backbone of random weights is frozen at first."""
    frozen, epochs = config.recipe.frozen_epochs, config.trainer.max_epochs
    if frozen is not None and frozen >= epochs:
        log.warning(f"recipe.frozen_epochs={frozen} with trainer.max_epochs={epochs} trains the head alone.")
    if frozen != 0 and not config.model.pretrained and config.model.weights is None:
        log.warning("The backbone starts from random weights and is frozen at first: recipe=scratch trains it at once.")
