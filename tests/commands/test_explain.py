"""A run's decisions explained: at the end of training, and again whenever somebody asks."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.commands import EXPLAINING, SMALL, command
from helpers.crops import ON_CPU, draw_folders, write_crop
from helpers.example_metrics import assert_matches
from helpers.html_page import Page, linked_files
from PIL import Image
from torch import Tensor, nn

from gender_cls.config.data import CLASSES
from gender_cls.config.evaluation import EvaluationConfig
from gender_cls.config.explain import ExplainConfig, ExplainedClass, ExplainRunConfig, Method
from gender_cls.data.crops import Crops, balanced_sample, read_crops
from gender_cls.data.image_store import ImageStore
from gender_cls.drawing.map_grid import Caption
from gender_cls.drawing.map_overviews import MeanMaps
from gender_cls.errors import GenderClsError
from gender_cls.evaluation.explanation_schema import BASELINES, PLACES, SCORE_COLUMNS
from gender_cls.evaluation.explanation_summary import read_explanations
from gender_cls.evaluation.predictions import read_predictions
from gender_cls.evaluation.schema import Metrics
from gender_cls.explain import explanations_table, final_explanations
from gender_cls.explain.attribution import Attribution, attribute
from gender_cls.explain.explanations_table import ABOUT, Question, explain_images
from gender_cls.explain.faithfulness import score_faithfulness
from gender_cls.explain.map_regions import rank_correlation
from gender_cls.explain.mass_shares import mass_shares
from gender_cls.explain.run_maps import load_run_maps
from gender_cls.pages.on_screen import run_on_screen
from gender_cls.reports.explanations import explain_on_request
from gender_cls.reports.final_test import evaluate_run
from gender_cls.runs.run import Run
from gender_cls.training.predictor import Predictor

UNUSED = Predictor(Path("gone.ckpt"), ON_CPU)

DEFAULT = Question((Method.saliency, Method.grad_cam), ("predicted",))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that explained 4 of its 12 test images, by one of two methods; the crops lie beside it."""
    cwd = tmp_path_factory.mktemp("explained")
    crops = draw_folders(cwd / "crops")
    result = command(
        "train", f"data.root={crops}", *SMALL, "name=NAME", "data.test_fraction=0.25", "trainer.max_epochs=1",
        "evaluation.explained_images=4", cwd=cwd,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return cwd / "outputs" / "runs" / "NAME"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    """A copy to work on, where the README has it."""
    return Run(Path(shutil.copytree(trained, tmp_path / "outputs" / "runs" / "NAME")))


def predictor_of(run: Run) -> Predictor:
    return Predictor(run.best_checkpoint, ON_CPU)


def images_of(run: Run) -> ImageStore:
    return ImageStore(Path(run.data["root"]))


def rows_of(run: Run) -> pd.DataFrame:
    predictions = read_predictions(run.predictions)
    return predictions[predictions["split"] == "test"].reset_index(drop=True)


def test_training_ends_with_measured_explanations(run: Run) -> None:
    metrics = run.metrics
    assert_matches(metrics, Metrics)
    found = metrics["explanations"]
    assert (found["images"], found["identities"], found["explained_class"]) == (4, 4, "predicted")
    assert [method["name"] for method in found["methods"]] == ["saliency", "grad_cam"]
    for method in found["methods"]:
        assert [game["baseline"] for game in method["games"]] == list(BASELINES)
        assert [place["name"] for place in method["places"]] == list(PLACES)
        assert method["randomisation"]["stages"][-1]["share"] == 1
    assert {path.name for path in run.explanations.iterdir()} >= {"epoch_001.png", "maps.npz", "randomisation.csv"}
    assert run.explanation_picture("least_certain").exists()
    page = Page(run.report.read_text())
    assert len(page.pictures) == len(list((run.explanations / "pictures").glob("*_[0-9][0-9].webp"))) > 0
    assert "4 test images of 4 people: where does the model look" in page.text
    assert "networks with random weights" in " ".join(run.model_card.read_text().split())
    assert run.gallery.read_text().count("<article") == 4


def test_the_table_holds_what_the_parts_measure(run: Run) -> None:
    table = read_explanations(run.explained)
    assert list(table.columns) == [
        *ABOUT, "prediction", "p_FEMALE", "method", "role", "explained", "probability", *SCORE_COLUMNS,
        "agreement_saliency", "agreement_grad_cam", "picture",
    ]  # fmt: skip
    assert table["label"].tolist() == ["FEMALE", "FEMALE", "MALE", "MALE"] * 2
    predictions = rows_of(run).set_index("path")
    classifier, images = predictor_of(run).device_classifier(), images_of(run)
    paths = list(dict.fromkeys(table["path"]))
    crops = read_crops(images.at(paths), classifier.settings.data)
    inputs = classifier.normalise(crops.images)
    attribution = attribute(classifier.network, inputs, DEFAULT.methods, classifier.feature_map)
    played, control = score_faithfulness(classifier.network, inputs, attribution.targets, attribution.maps, paths)
    likeness = rank_correlation(*attribution.maps.values())
    for index, path in enumerate(paths):
        answer, rows = predictions.loc[path], table[table["path"] == path]
        assert set(rows["explained"]) == {answer["prediction"]}
        assert rows["probability"].tolist() == [answer[f"p_{answer['prediction']}"]] * 2
        for method, other in zip(DEFAULT.methods, DEFAULT.methods[::-1], strict=True):
            row = rows[rows["method"] == method.value].iloc[0]
            expected = mass_shares(attribution.maps[method], crops.boxes) | played[method] | control
            for name, value in expected.items():
                assert row[name] == pytest.approx(value[index], abs=1e-3, nan_ok=True), name
            assert row["outside_area"] == pytest.approx(0.52)
            assert row[f"agreement_{other.value}"] == pytest.approx(likeness[index], abs=1e-3, nan_ok=True)
            assert np.isnan(row[f"agreement_{method.value}"])
        with Image.open(run.folder / rows["picture"].iloc[0]) as strip:
            assert (strip.format, strip.height) == ("WEBP", 192)


def test_maps_are_kept_in_units_of_an_even_map(run: Run) -> None:
    kept = load_run_maps(run.maps)
    assert kept is not None
    assert sorted(kept.paths) == sorted(set(read_explanations(run.explained)["path"]))
    assert list(kept.maps) == ["saliency", "grad_cam"]
    for maps in kept.maps.values():
        assert maps.shape == (4, 32, 16)
        assert np.abs(maps).mean(axis=(1, 2)) == pytest.approx(1, abs=1e-2)
    assert kept.boxes.tolist() == [[0, 0, 16, 32]] * 4


def test_the_whole_test_split_is_explained_on_request_and_nothing_twice(run: Run, tmp_path: Path) -> None:
    before = read_explanations(run.explained)
    result = command("explain", *EXPLAINING.split()[3:], "progress_bar=false", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"Open {run.gallery.relative_to(tmp_path)}\n"
    after = read_explanations(run.explained)
    assert after["path"].nunique() == len(rows_of(run)) == 12
    assert len(after) == 24
    old = after.set_index(["path", "method"]).loc[list(zip(before["path"], before["method"], strict=True))]
    pd.testing.assert_frame_equal(old.reset_index()[before.columns], before)
    assert run.gallery.read_text().count("<article") == 12

    run.best_checkpoint.unlink()  # nothing is left to ask the network
    config = ExplainRunConfig(run=str(run.folder), progress_bar=False)
    explain_on_request(run, config, predictor_of(run))
    evaluate_run(run, EvaluationConfig(shortcuts=False, explained_images=0, resamples=200), UNUSED, cache=Path("gone"))
    assert run.metrics["explanations"]["images"] == 12, "what was explained since then counts"


def test_pictures_show_the_worst_of_each_person_and_the_means_of_each_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, means = [], []

    def grid(crops: Crops, captions: list[Caption], explained: dict[str, Attribution], title: str, weights: str) -> Any:
        shown.append((title, [caption.name for caption in captions]))
        answers = table.set_index("path").loc[shown[-1][1]]
        assert [caption.predicted for caption in captions] == answers["prediction"].tolist()
        assert [CLASSES[target] for target in explained["predicted"].targets] == answers["prediction"].tolist()
        p_answer = np.maximum(answers["p_FEMALE"], 1 - answers["p_FEMALE"])
        assert [caption.probability for caption in captions] == p_answer.tolist()
        return np.zeros((2, 2, 3), np.uint8)

    def mean_grid(groups: list[MeanMaps], title: str, note: str) -> Any:
        means.extend(groups)
        return np.zeros((2, 2, 3), np.uint8)

    monkeypatch.setattr(final_explanations, "explanation_grid", grid)
    monkeypatch.setattr(final_explanations, "mean_map_grid", mean_grid)
    monkeypatch.setattr(final_explanations, "FEWEST", 1)
    shutil.rmtree(run.explanations)
    run.explained.unlink()
    table = rows_of(run)
    p_wrong = np.linspace(0.51, 0.99, len(table))  # the later, the more confidently wrong; the last two are right
    female = (table["label"] == "FEMALE").to_numpy()
    table["p_FEMALE"] = np.where(female, 1 - p_wrong, p_wrong)
    table.loc[10:, "p_FEMALE"] = 1 - table.loc[10:, "p_FEMALE"]
    table["prediction"] = np.where(table["p_FEMALE"] >= 0.5, "FEMALE", "MALE")
    config = ExplainConfig(methods=[Method.saliency])
    options = {"number": 4, "problems": {}}
    predictor, images = predictor_of(run), images_of(run)
    final_explanations.explain_test_images(run, table, images, predictor, settings=config, **options)

    [(_, mistakes), (_, doubts)] = shown
    groups = table.set_index("path")["group"]
    assert mistakes[0] == table["path"][9]
    assert doubts[0] == table["path"][0]
    assert list(groups[mistakes]) == list(dict.fromkeys(table["group"][9::-1])), "one of each, the worst"
    assert groups[doubts].is_unique
    assert groups[doubts].nunique() == table["group"].nunique()
    sample = balanced_sample(table, 4, final_explanations.SAMPLE_SEED)
    assert {one.name: one.images for one in means} == {
        **sample["prediction"].value_counts(), **sample["camera"].value_counts()
    }  # fmt: skip
    kept, female_rows = load_run_maps(run.maps), (sample["prediction"] == "FEMALE").to_numpy()
    assert kept is not None
    first = next(one for one in means if one.name == "FEMALE")
    expected = kept.maps["saliency"][female_rows].mean(axis=0)
    assert np.asarray(first.columns[0].maps)[0] == pytest.approx(expected, rel=2e-3)  # half precision


FAILING = {
    "cost": "gender_cls.reports.final_test.measure_cost",
    "explanations": "gender_cls.explain.final_explanations.explain_images",
    "randomisation": "gender_cls.explain.final_explanations.randomisation_check",
    "mean maps": "gender_cls.explain.final_explanations.mean_map_grid",
    "least certain": "gender_cls.explain.final_explanations.explanation_grid",
    "shortcuts": "gender_cls.reports.variants.apply_shortcut",
    "stress": "gender_cls.reports.variants.apply_corruption",
    "figure of reliability": "gender_cls.drawing.report_figures._reliability",
    "TensorBoard": "gender_cls.reports.result_pages.write_events",
    "gallery.html": "gender_cls.reports.result_pages.render_gallery",
    "MODEL_CARD.md": "gender_cls.reports.result_pages.render_model_card",
    "report.html": "gender_cls.reports.result_pages.render_report",
}


def breaking(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("broken <b> on purpose")


def test_parts_that_fail_are_said_and_the_rest_is_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(run.explanations)
    run.explained.unlink()
    run.metrics_file.unlink()
    monkeypatch.setattr("gender_cls.explain.final_explanations.FEWEST", 1)
    settings = EvaluationConfig(stress=True, explained_images=4, resamples=200)
    options = {"cache": run.folder / "cache"}
    for part in FAILING:
        if part not in ("explanations", "report.html"):  # without them, other parts are not tried, or nothing is said
            monkeypatch.setattr(FAILING[part], breaking)
    evaluate_run(run, settings, predictor_of(run), **options)
    problems = run.metrics["problems"]
    assert set(FAILING) - problems.keys() == {"explanations", "report.html"}
    assert set(problems.values()) == {"ZeroDivisionError: broken <b> on purpose"}
    assert_matches(run.metrics, Metrics)
    assert run.metrics["explanations"]["methods"][0]["randomisation"] is None
    page = run.report.read_text()
    for part in ("randomisation", "stress", "figure of reliability", "gallery.html"):
        assert f"Not made: {part}." in page
        assert f"Not made: {part}." in "\n".join(map(str, run_on_screen(run.metrics)))
    assert "broken <b>" not in page

    monkeypatch.undo()
    for part in ("explanations", "report.html"):
        monkeypatch.setattr(FAILING[part], breaking)
    evaluate_run(run, settings, predictor_of(run), **options)
    assert run.metrics["problems"].keys() == {"explanations", "report.html"}, "the others were made"
    assert (run.metrics["stress"], run.metrics["cost"]["parameters"]).count(None) == 0
    monkeypatch.undo()
    evaluate_run(run, settings, predictor_of(run), **options)
    assert run.metrics["problems"] == {}
    assert "Not made" not in run.report.read_text()


class OutOfOrder(Exception):
    pass


def test_interrupted_work_goes_on_where_it_was_saved(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.explained.unlink()
    rows, images = rows_of(run), images_of(run)
    monkeypatch.setattr(explanations_table, "IMAGES_PER_PASS", 5)
    monkeypatch.setattr(explanations_table, "SECONDS_BETWEEN_SAVES", 0)
    chunks: list[int] = []

    def counting(network: nn.Module, inputs: Tensor, *others: Any) -> Attribution:
        chunks.append(len(inputs))
        if len(chunks) == 2:
            raise OutOfOrder
        return attribute(network, inputs, *others)

    monkeypatch.setattr(explanations_table, "attribute", counting)
    predictor = predictor_of(run)
    with pytest.raises(OutOfOrder):
        explain_images(rows, images, predictor, DEFAULT, folder=run.folder)
    assert read_explanations(run.explained)["path"].nunique() == 5
    table = explain_images(rows, images, predictor, DEFAULT, folder=run.folder)
    assert chunks == [5, 5, 5, 2]
    assert table["path"].drop_duplicates().tolist() == rows["path"].tolist()


def test_asking_for_more_keeps_what_was_known(run: Run) -> None:
    rows = rows_of(run).head(3)
    images, predictor = images_of(run), predictor_of(run)
    both = Question((Method.occlusion,), ("predicted", "true"), faithfulness=False)
    table = explain_images(rows, images, predictor, both, folder=run.folder)
    for path, label in zip(rows["path"], rows["label"], strict=True):
        answers = table[table["path"] == path]
        known = path in set(read_explanations(run.explained)["path"])
        assert known
        assert set(answers["role"]) == {"predicted", "true"}
        assert set(answers["method"]) >= {"occlusion"}
        assert set(answers["explained"][answers["role"] == "true"]) == {label}
        predicted, true = (answers[answers["role"] == role].set_index("method") for role in ("predicted", "true"))
        if answers["prediction"].iloc[0] == label:
            pd.testing.assert_frame_equal(predicted.drop(columns="role"), true.drop(columns="role"))
        else:
            assert predicted["probability"].iloc[0] == pytest.approx(1 - true["probability"].iloc[0])
            assert predicted["picture"].iloc[0] != true["picture"].iloc[0]
    sampled = table[table["random_blurred"].notna()]
    assert set(sampled["method"]) >= {"saliency", "grad_cam"}, "the games that had been played are not lost"


def test_images_from_elsewhere_have_a_folder_of_their_own(run: Run, tmp_path: Path) -> None:
    for name in ("new/women/person70_camera1_0.png", "new/unsorted/x.png", "new/a\rb.png", "new/empty.png"):
        write_crop(tmp_path / name, len(name))
    (tmp_path / "new" / "empty.png").write_bytes(b"")
    config = ExplainRunConfig(run=str(run.folder), images=str(tmp_path / "new"), progress_bar=False)
    gallery = explain_on_request(run, config, predictor_of(run))
    assert gallery == run.explanations / "new" / "gallery.html"
    links = linked_files(gallery)
    assert all(file.is_file() for file in links)
    assert gallery.parent / "explanations.csv" in links
    table = read_explanations(gallery.parent / "explanations.csv")
    assert table["label"].tolist() == ["unknown"] * 2 + ["FEMALE"] * 2
    assert table["identity"].tolist() == [""] * 2 + ["person70"] * 2
    assert all((gallery.parent / picture).is_file() for picture in table["picture"])
    assert len(read_explanations(run.explained)) == 8, "the table of the test split is left alone"
    unreadable = pd.read_csv(gallery.parent / "unreadable.csv")
    assert unreadable["path"].tolist() == [rf"{tmp_path}/new/a\rb.png", f"{tmp_path}/new/empty.png"]
    assert "it is empty" in unreadable["reason"][1]

    write_crop(tmp_path / "new" / "unsorted" / "x.png", 77)
    explain_on_request(run, config, predictor_of(run))
    again = read_explanations(gallery.parent / "explanations.csv")
    assert again["path"].tolist() == table["path"].tolist()
    is_new = table["path"].str.endswith("x.png")
    assert is_new.sum() == 2
    assert ((again["pixels"] != table["pixels"]) == is_new).all()
    assert ((again["outside"] != table["outside"]) == is_new).all(), "a replaced image is explained anew, no other one"

    only_true = ExplainRunConfig(
        run=str(run.folder), images=[str(tmp_path / "new")], name="true", explained_class=ExplainedClass.true,
        faithfulness=False, methods=[Method.saliency], progress_bar=False,
    )  # fmt: skip
    gallery = explain_on_request(run, only_true, predictor_of(run))
    table = read_explanations(gallery.parent / "explanations.csv")
    assert table["explained"].tolist() == ["FEMALE"], "an image without a label has no true class"
    assert table["random_blurred"].isna().all()
    assert table["outside"].notna().all()

    config.images = str(tmp_path / "new" / "empty.png")
    with pytest.raises(GenderClsError, match=r"empty\.png: it is empty"):
        explain_on_request(run, config, predictor_of(run))
    only_true.images, only_true.name = str(tmp_path / "new" / "unsorted"), None
    with pytest.raises(GenderClsError, match="explained_class=predicted"):
        explain_on_request(run, only_true, predictor_of(run))


def test_maps_that_are_gone_are_named(run: Run) -> None:
    picture = read_explanations(run.explained)["picture"][0]
    file = (run.folder / picture).with_suffix(".npz")
    images, options = images_of(run), {"settings": ExplainConfig(), "number": 4}
    for spoil in (lambda: file.write_bytes(b"PK no more"), file.unlink):
        spoil()
        run.maps.unlink(missing_ok=True)
        problems: dict[str, str] = {}
        final_explanations.explain_test_images(
            run, rows_of(run), images, predictor_of(run), problems=problems, **options
        )
        assert f"{file} is missing or damaged: remove" in problems["mean maps"]


def test_runs_that_cannot_be_explained_say_why(run: Run) -> None:
    config = ExplainRunConfig(run=str(run.folder), progress_bar=False)
    predictor = predictor_of(run)
    root = Path(run.data["root"])
    root.rename(root.with_name("moved"))
    try:
        with pytest.raises(GenderClsError, match=r"Cannot read .*: No such file or directory\..*data_root"):
            explain_on_request(run, config, predictor)
        config.data_root = str(root.with_name("moved"))
        config.limit = 5
        explain_on_request(run, config, predictor)
    finally:
        root.with_name("moved").rename(root)
    run.predictions.unlink()
    with pytest.raises(GenderClsError, match=r"predictions\.csv is missing: python -m gender_cls\.evaluate run="):
        explain_on_request(run, config, predictor)
    status = json.loads(run.status_file.read_text())
    run.status_file.write_text(json.dumps({**status, "fitted": False}))
    with pytest.raises(GenderClsError, match="has not been trained to its end: there is nothing to explain yet"):
        explain_on_request(run, config, predictor)
