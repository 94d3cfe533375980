"""Answers of the network that a run's folder keeps: from which precision and device, and when they do not count."""

import logging

from gender_cls.explain.final_explanations import PICTURES
from gender_cls.runs.run import Run
from gender_cls.training.predictor import Predictor

log = logging.getLogger(__name__)


def keep_answers_of_one_precision(run: Run, predictor: Predictor) -> None:
    """Remove answers that were computed in another precision; say if another device computes what is missing.

    Numbers of one run are compared with each other, and another precision can change a probability by 0.2. Another
    device rounds differently, so its answers may join the others. `status.json` says where they come from (`answers`).
    """
    now = {"precision": predictor.precision, "device": predictor.device}
    if run.predictions.exists():
        kept = run.answers_from
        if kept["precision"] in (None, now["precision"]):
            if kept["device"] not in (None, now["device"]):
                log.info(
                    f"The answers in {run.folder} were computed on {kept['device']}. They stay; what is missing is "
                    f"computed on {now['device']}, which rounds differently."
                )
            return
        log.warning(
            f"The answers in {run.folder} were computed with precision {kept['precision']}: all of them, and the maps, "
            f"are computed anew with {now['precision']}."
        )
        pictures = map(run.explanation_picture, PICTURES)
        for file in (run.variants, run.explained, run.maps, run.randomisation, *pictures, run.predictions):
            file.unlink(missing_ok=True)
    run.note(answers=now)
