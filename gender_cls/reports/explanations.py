"""Explanations on request, after training: a table and a gallery."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from gender_cls.config.explain import ExplainRunConfig
from gender_cls.config.parsing import recorded_config
from gender_cls.data.crops import balanced_sample
from gender_cls.data.csv_text import csv_text, read_csv_text
from gender_cls.data.folders import left_out_sentence
from gender_cls.data.image_files import UnreadableError
from gender_cls.data.image_store import ImageStore
from gender_cls.data.loose_images import loose_images
from gender_cls.data.run_images import decoded_when_needed
from gender_cls.errors import GenderClsError, harmless, plural
from gender_cls.evaluation.predictions import answers_of
from gender_cls.explain.explanations_table import Question, explain_images
from gender_cls.explain.final_explanations import SAMPLE_SEED
from gender_cls.pages.gallery_page import render_gallery
from gender_cls.pages.links import links_around
from gender_cls.runs.files import timestamp, write_atomically
from gender_cls.runs.run import Run, image_cache
from gender_cls.training.predictor import Predictor

log = logging.getLogger(__name__)


def explain_on_request(run: Run, config: ExplainRunConfig, predictor: Predictor) -> Path:
    """Write `explanations.csv` and `gallery.html` and return the path of the gallery.

    Those of the test split go into the run's folder, those of other images into a folder inside it.

    Raises:
        GenderClsError: the run has not been trained or evaluated, an image is missing or cannot be read, or the true
            class is asked for and no image has one.
    """
    run.refuse_links_out()
    if not run.status.get("fitted"):
        raise GenderClsError(f"{run.folder} has not been trained to its end: there is nothing to explain yet.")
    recorded = recorded_config(run.config_file)
    root = Path(config.data_root) if config.data_root else run.data_root
    images = ImageStore(root)
    unreadable: dict[str, str] | None = None  # an image of the test split must not be missing
    if config.image_paths:
        folder = run.explanations / (config.name or config.image_paths[0].stem)
        folder.mkdir(parents=True, exist_ok=True)
        loose = loose_images(config.image_paths, recorded.data, read_csv_text(run.manifest), root)
        if sentence := left_out_sentence(loose.left_out):
            log.warning(sentence)
        asked, total = loose.rows.head(config.limit or len(loose.rows)), None
        unreadable = {harmless(path): "Its name is not UTF-8, or has control characters." for path in loose.odd_names}
    else:
        folder = run.folder
        predictions = answers_of(run)
        rows = predictions[predictions["split"] == "test"].reset_index(drop=True)
        asked, total = balanced_sample(rows, config.limit or len(rows), SAMPLE_SEED), len(rows)
        images = decoded_when_needed(asked, root, image_cache(recorded.output_dir), recorded.data)
    question = Question(
        methods=tuple(config.methods or recorded.explain.methods),
        roles=(config.explained_class or recorded.explain.explained_class).roles,
        faithfulness=config.faithfulness,
    )
    options: dict[str, Any] = {"folder": folder, "unreadable": unreadable}
    try:
        table = explain_images(asked, images, predictor, question, **options)
    except UnreadableError as error:
        raise GenderClsError(f"{error} If the images were moved, name the folder with data_root.") from error
    if unreadable is not None:
        _list_unreadable(folder, unreadable, asked["path"])
    if table.empty:
        raise GenderClsError("No image has a label whose class could be explained: use explained_class=predicted.")
    created = timestamp()
    title = run.folder.name if folder == run.folder else f"{run.folder.name}: {folder.name}"
    gallery, size = folder / "gallery.html", recorded.data.image_size
    about: dict[str, Any] = {"title": title, "folder": str(folder), "created": created, "image_size": size}
    page = render_gallery(table, chosen_from=total, links=links_around(gallery, run), **about)
    write_atomically(gallery, page)
    return gallery


def _list_unreadable(folder: Path, unreadable: dict[str, str], asked: pd.Series) -> None:
    """Write `unreadable.csv`, as a run does, or remove an older one."""
    file = folder / "unreadable.csv"
    if not unreadable:
        file.unlink(missing_ok=True)
        return
    if asked.isin(list(unreadable)).all():
        raise GenderClsError(f"None of the images can be read. The first: {next(iter(unreadable.values()))}")
    listed = pd.DataFrame({"path": list(unreadable), "reason": list(unreadable.values())})
    write_atomically(file, csv_text(listed))
    log.warning(f"Left out {plural(len(unreadable), 'image')} that cannot be read, listed in {file}.")
