"""Runs that were trained once, evaluated and compared as often as one likes."""

import json
import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
import torch
import yaml
from helpers.commands import COMPARING, EVALUATING, command
from helpers.crops import ON_CPU, write_crop
from helpers.example_metrics import assert_matches
from helpers.html_page import linked_files
from torch import Tensor

from gender_cls.config.evaluation import EvaluateConfig, EvaluationConfig, OperatingPointRule
from gender_cls.config.explain import ExplainRunConfig
from gender_cls.config.parsing import parse_config
from gender_cls.data.corruptions import apply_corruption
from gender_cls.data.csv_text import csv_text
from gender_cls.data.image_store import ImageStore
from gender_cls.data.shortcuts import apply_shortcut
from gender_cls.data.variant_names import CORRUPTIONS, SEVERITIES, SHORTCUTS
from gender_cls.errors import GenderClsError
from gender_cls.evaluate import evaluate
from gender_cls.evaluation.comparison.compare_json import Comparison
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.predictions import read_predictions
from gender_cls.evaluation.schema import SCHEMA_VERSION, Metrics
from gender_cls.evaluation.stress import variants
from gender_cls.pages import on_screen
from gender_cls.reports import final_test
from gender_cls.reports.explanations import explain_on_request
from gender_cls.reports.final_test import evaluate_run
from gender_cls.reports.kept_answers import keep_answers_of_one_origin
from gender_cls.reports.variants import Distortion
from gender_cls.runs.locks import locked
from gender_cls.runs.run import Run
from gender_cls.training.predictor import Predictor


def test_seeds_share_the_split_and_make_one_candidate(trained: Path) -> None:
    assert len({path.read_text() for path in trained.glob("*/manifest.csv")}) == 1
    comparison = json.loads((trained / "leaderboard.json").read_text())
    assert_matches(comparison, Comparison)
    assert [(row["title"], row["seeds"]) for row in comparison["candidates"]] == [("custom_cnn", [0, 1])]
    tests = [json.loads(path.read_text())["test"] for path in trained.glob("*/metrics.json")]
    mean = sum(test["scores"]["balanced_accuracy"]["value"] for test in tests) / 2
    assert pd.read_csv(trained / "leaderboard.csv")["test_balanced_accuracy"][0] == pytest.approx(mean)
    linked = linked_files(trained / "leaderboard.html")
    assert {file.name for file in linked} >= {"leaderboard.csv", "report.html", "MODEL_CARD.md"}
    assert all(file.is_file() for file in linked)


def test_every_link_of_every_page_leads_to_a_file_of_the_copied_folder(trained: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trained, tmp_path / "a #1%20"))
    pages = [*copy.rglob("*.html")]
    assert len(pages) == 3
    linked = {page: linked_files(page) for page in pages}
    for card in copy.rglob("MODEL_CARD.md"):
        addresses = re.findall(r"\]\((?!http)(.*?)\)", card.read_text())
        linked[card] = [card.parent / unquote(address) for address in addresses]
    for page, files in linked.items():
        assert all(file.resolve().is_relative_to(copy) and file.is_file() for file in files), page
        assert page.name == "leaderboard.html" or copy / "leaderboard.html" in [file.resolve() for file in files]
        if page.name == "report.html":
            assert {file.name for file in files} >= {"MODEL_CARD.md", "epochs.csv", "predictions.csv", "metrics.json"}


def test_a_sweep_is_evaluated_under_stress_and_then_without_network_or_pictures(sweep: Path, tmp_path: Path) -> None:
    runs = [Run(path.parent) for path in sorted(sweep.glob("*/status.json"))]
    before = [read_predictions(run.predictions) for run in runs]
    assert runs[0].metrics["stress"] is None
    quickly = ["resamples=200", "num_workers=0", "progress_bar=false"]
    result = command("evaluate", *EVALUATING.split()[3:], "shortcuts=true", *quickly, cwd=tmp_path)
    assert result.stdout.count("Open ") == 2
    assert [f"{number} of 2: {run.folder.name}" in result.stdout for number, run in enumerate(runs, 1)] == [True] * 2
    assert result.stderr == ""
    for run, table in zip(runs, before, strict=True):
        assert_matches(run.metrics, Metrics)
        assert [one["name"] for one in run.metrics["stress"]["corruptions"]] == list(CORRUPTIONS)
        assert [one["name"] for one in run.metrics["shortcuts"]] == list(SHORTCUTS)
        pd.testing.assert_frame_equal(read_predictions(run.predictions), table)
        logits = pd.read_csv(run.variants)
        assert len(logits.columns) == 1 + len(CORRUPTIONS) * len(SEVERITIES) + len(SHORTCUTS)
        assert list(logits["path"]) == list(table["path"][table["split"] == "test"])
        assert {path.stem for path in run.plots.iterdir()} >= {"roc", "reliability", "risk_coverage", "stress"}

    [run, _] = runs
    run.best_checkpoint.unlink()
    others = ["target_error=0.45", "operating_point=equal_recall", "data_root=."]
    command("evaluate", f"run={run.folder}", *quickly, *others, cwd=tmp_path)
    metrics = run.metrics
    assert metrics["operating_point"]["rule"] == "equal_recall"
    assert metrics["abstention"]["target_error"] == 0.45
    assert metrics["stress"] is not None
    answers = pd.read_csv(run.predictions)["answer"]
    assert list(answers) == list(DecisionRule.from_metrics(metrics).answers(read_predictions(run.predictions)))
    assert len(list(run.folder.glob("events.out.tfevents.*.evaluation"))) == 1


def again(run: Run, shortcuts: bool = True, data_root: Path | None = None) -> None:
    """Evaluate within this process."""
    settings = EvaluationConfig(shortcuts=shortcuts, resamples=200)
    predictor = Predictor(run.best_checkpoint, ON_CPU)
    cache = run.folder.parent / "cache"
    evaluate_run(run, settings, predictor, cache=cache, data_root=data_root)


def test_an_interrupted_evaluation_goes_on(run: Run) -> None:
    again(run)
    logits = pd.read_csv(run.variants)
    whole = run.variants.read_bytes()
    logits.drop(columns=["grey", "eight_pixels"]).assign(person_only=7.0).to_csv(run.variants, index=False)
    run.metrics_file.write_text(run.metrics_file.read_text()[:-40])  # cut off; it is written anew
    again(run)
    assert_matches(run.metrics, Metrics)
    resumed = pd.read_csv(run.variants)
    assert (resumed["person_only"] == 7).all(), "what is there is not made again"
    pd.testing.assert_frame_equal(resumed[["grey", "eight_pixels"]], logits[["grey", "eight_pixels"]])
    run.variants.unlink()
    again(run)
    assert run.variants.read_bytes() == whole


def test_pictures_that_were_moved_are_named(run: Run, tmp_path: Path) -> None:
    before = run.predictions.read_bytes()
    run.predictions.unlink()
    data = run.data
    moved = Path(shutil.copytree(data["root"], tmp_path / "moved"))
    run.data_file.write_text(json.dumps({**data, "root": str(tmp_path / "gone"), "split_origin": "dealt"}))
    with pytest.raises(GenderClsError) as caught:
        again(run)
    assert str(caught.value).startswith(f"The images of {run.folder} cannot be read any more. The first: Cannot read ")
    assert str(caught.value).endswith("If they were moved, name the folder with data_root.")
    again(run, data_root=moved)
    assert run.predictions.read_bytes() == before
    assert run.metrics["data"]["split_origin"] == "made", "and not the word of an earlier version"
    run.variants.unlink()
    shutil.rmtree(run.folder.parent / "cache")
    again(run)
    assert "If the images were moved, name the folder with data_root" in run.metrics["problems"]["shortcuts"]


QUICKLY = EvaluationConfig(shortcuts=False, explained_images=0, resamples=200)


def test_replaced_pictures_are_named_wherever_they_are_read(run: Run, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(run.data["root"], tmp_path / "moved"))
    table = read_predictions(run.predictions)
    path = table["path"][table["split"] == "test"].iloc[0]
    write_crop(moved / path, 77)
    predictor = Predictor(run.best_checkpoint, ON_CPU)
    options = {"cache": tmp_path / "cache", "data_root": moved}
    sentence = rf"^The pixels of 1 of \d+ images below {moved} have changed since .*: {path}\. "
    explaining = ExplainRunConfig(run=str(run.folder), data_root=str(moved), progress_bar=False)
    evaluate_run(run, replace(QUICKLY, shortcuts=True, explained_images=100), predictor, **options)
    for part in ("shortcuts", "explanations"):
        assert re.match(sentence, run.metrics["problems"][part])
    assert read_predictions(run.predictions).equals(table)
    for ask in (
        lambda: explain_on_request(run, explaining, predictor),
        lambda: (run.predictions.unlink(), evaluate_run(run, QUICKLY, predictor, **options)),
    ):
        with pytest.raises(GenderClsError, match=sentence):
            ask()
    manifest = pd.read_csv(run.manifest, dtype=str, keep_default_na=False)
    manifest.drop(columns="pixels").to_csv(run.manifest, index=False)  # as an earlier version wrote it
    evaluate_run(run, QUICKLY, predictor, **options)
    now = read_predictions(run.predictions)
    assert ((now["p_FEMALE"] != table["p_FEMALE"]) == (now["path"] == path)).all()


def test_answers_of_two_precisions_are_not_mixed(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = run.metrics["cost"]
    quick = lambda *_, precision, **__: {**cost, "device": f"cpu, 1 thread, {precision}"}  # noqa: E731
    monkeypatch.setattr(final_test, "measure_cost", quick)

    before = run.predictions.read_bytes()
    run.variants.write_text("path,grey\n")
    run.explanations.mkdir()
    for file in (run.explained, run.maps, run.randomisation):
        file.write_text("of 32-true")
    half = replace(ON_CPU, precision="bf16-mixed")
    predictor = Predictor(run.best_checkpoint, half)
    evaluate_run(run, QUICKLY, predictor, cache=tmp_path / "cache")
    assert "precision 32-true" in caplog.text
    assert "bf16-mixed" in caplog.text
    assert run.predictions.read_bytes() != before
    assert not any(file.exists() for file in (run.variants, run.explained, run.maps, run.randomisation))
    assert run.answers_from == {"precision": "bf16-mixed", "device": "cpu"}
    assert run.metrics["cost"]["device"].endswith(", bf16-mixed")

    run.variants.write_bytes(kept := csv_text(read_predictions(run.predictions)[["path"]].assign(grey=1.0)).encode())
    run.predictions.unlink()  # the variants alone are of another precision too
    evaluate_run(run, QUICKLY, Predictor(run.best_checkpoint, ON_CPU), cache=tmp_path / "cache")
    assert run.predictions.read_bytes() == before
    assert not run.variants.exists()
    assert kept


def costing(run: Run, milliseconds: float, **changed: object) -> dict:
    """The run's cost, with another time that nothing disturbed."""
    return {**run.metrics["cost"], "milliseconds_batch_1": milliseconds, "disturbed": None, **changed}


OF_GPU = {"disturbed": "others", "device": "a GPU, 32-true"}


@pytest.mark.parametrize(
    ("earlier", "now", "expected"),
    [
        ({}, {}, "earlier"),
        ({"disturbed": "others"}, {}, "now"),
        ({"disturbed": "others"}, {"disturbed": "others too"}, "earlier"),
        ({"disturbed": "others"}, None, "earlier"),
        (OF_GPU, {}, "earlier"),
        ({"device": "cpu, 1 thread, bf16-mixed"}, {}, "now"),
        ({"surplus": 1}, {}, "now"),
    ],
)
def test_a_cost_is_measured_again_only_where_that_can_be_better(run: Run, monkeypatch, earlier, now, expected) -> None:
    found = {"earlier": costing(run, 480.0, **earlier), "now": costing(run, 10.6, **(now or {}))}
    run.metrics_file.write_text(json.dumps({**run.metrics, "cost": found["earlier"]}))
    asked: list[str] = []

    def measure(*_: object, precision: str, **__: object) -> dict:
        asked.append(precision)
        if now is None:
            raise RuntimeError("it cannot be measured")
        return found["now"]

    monkeypatch.setattr(final_test, "measure_cost", measure)
    evaluate_run(run, QUICKLY, Predictor(run.best_checkpoint, ON_CPU), cache=run.folder)
    assert run.metrics["cost"] == found[expected]
    assert asked == ([] if earlier in ({}, OF_GPU) else ["32-true"])
    assert ("cost" in run.metrics["problems"]) == (now is None)


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_without_the_checkpoint_no_cost_is_lost(run: Run, precision: str) -> None:
    run.best_checkpoint.unlink()
    run.note(answers={"precision": precision, "device": "cpu"})
    computed = {"16-mixed": "bf16-mixed"}.get(precision, precision)  # on a CPU
    cost = costing(run, 480.0, disturbed="others", device=f"cpu, 2 threads, {computed}")
    predictor = Predictor(run.best_checkpoint, replace(ON_CPU, precision=precision))
    of_earlier_version = {name: value for name, value in cost.items() if name != "disturbed"}
    for kept in (cost, of_earlier_version):
        run.metrics_file.write_text(json.dumps({**run.metrics, "cost": kept}))
        evaluate_run(run, QUICKLY, predictor, cache=run.folder)
        now = run.metrics["cost"]
        assert now == cost | {"disturbed": now["disturbed"]}
        assert now["disturbed"], "an earlier version did not look: its times are marked too"
        assert not run.metrics["problems"]


@pytest.mark.parametrize(
    ("wanted", "explained", "stay"),
    [
        ([], 0, True),
        (["grey"], 0, True),
        (["grey", "person_only"], 0, False),
        (["grey"], 1, True),
        (["grey"], 2, False),
    ],
)
def test_answers_of_two_devices_are_not_mixed(wanted, explained, stay, run: Run, caplog) -> None:
    table = read_predictions(run.predictions)
    tested = table[table["split"] == "test"]
    run.variants.write_text(csv_text(tested[["path"]].assign(grey=1.0)))
    run.explained.write_text(csv_text(tested[["path"]].head(1)))
    gpu = Predictor(run.best_checkpoint, replace(ON_CPU, device="cuda"))
    keep_answers_of_one_origin(run, gpu, wanted, explained)
    assert {file.exists() for file in (run.predictions, run.variants, run.explained)} == {stay}
    assert run.answers_from["device"] == ("cpu" if stay else "cuda")
    assert ("device cpu" in caplog.text) == ("device cuda" in caplog.text) == (not stay)


def test_a_run_keeps_its_own_settings_of_what_is_not_asked(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, EvaluationConfig] = {}

    def note(run: Run, settings: EvaluationConfig, *_: object, **__: object) -> None:
        asked[run.folder.name[:1]] = settings

    monkeypatch.setattr(final_test, "evaluate_run", note)
    monkeypatch.setattr(on_screen, "run_on_screen", lambda metrics: [])
    own = EvaluationConfig(True, OperatingPointRule.equal_recall, 0.2, False, True, 3, 700)
    for number, explained in (("0", False), ("1", True)):
        run = Run(next(sweep.glob(f"{number}_*")))
        settings = run.settings
        settings["evaluation"] = {
            "operating_point": "equal_recall", "target_error": 0.2, "shortcuts": False, "stress": True,
            "explained_images": 3, "resamples": 700 + int(number),
        }  # fmt: skip
        settings["explain"]["enabled"] = explained
        run.config_file.write_text(yaml.safe_dump(settings))
    command = {"run": str(sweep), "output_dir": str(sweep), "accelerator": "cpu"}
    evaluate(parse_config({**command, "target_error": 0.05}, EvaluateConfig))
    assert asked == {
        "0": replace(own, target_error=0.05, explained_images=0),
        "1": replace(own, target_error=0.05, resamples=701),
    }
    changes = {"stress": False, "shortcuts": True, "explained_images": 5, "operating_point": "balanced_accuracy"}
    evaluate(parse_config({**command, **changes, "resamples": 100}, EvaluateConfig))
    assert asked["0"] == EvaluationConfig(True, OperatingPointRule.balanced_accuracy, 0.2, True, False, 5, 100)


def test_what_cannot_be_evaluated_is_said(run: Run) -> None:
    run.note(answers_hash=None)  # as an earlier version left it
    run.predictions.write_text("".join(run.predictions.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(
        GenderClsError, match=rf"^{run.predictions} is not about the images in manifest\.csv: remove it"
    ):
        again(run)
    run.data_file.write_text(json.dumps({**run.data, "root": 5}))
    with pytest.raises(GenderClsError, match=f"^{run.data_file} names no folder of images"):
        again(run)
    run.data_file.unlink()
    with pytest.raises(GenderClsError, match=f"^{run.data_file} is missing: an earlier version trained this run;"):
        again(run)
    run.note(fitted=None)
    with pytest.raises(GenderClsError, match=f"^{run.folder} has not been trained to its end: there is nothing to"):
        again(run)


def test_answers_and_weights_of_another_run_are_refused(sweep: Path, run: Run) -> None:
    other = Run(next(sweep.glob("1_*")))
    own = run.predictions.read_bytes()
    shutil.copy(other.predictions, run.predictions)
    with pytest.raises(GenderClsError, match=f"^{run.predictions} holds other answers than the network of this run"):
        again(run)
    run.predictions.write_bytes(own)
    again(run, shortcuts=False)
    shutil.copy(other.best_checkpoint, run.best_checkpoint)
    run.predictions.unlink()
    asked = {"run": str(run.folder), "output_dir": str(sweep), "progress_bar": False, "accelerator": "cpu"}
    with pytest.raises(GenderClsError, match=r"best\.ckpt belongs to another training: it has seed=1, and this .* 0\."):
        evaluate(parse_config(asked, EvaluateConfig))


def test_a_run_folder_of_somebody_else_runs_nothing_and_writes_nowhere_else(run: Run, tmp_path: Path) -> None:
    made, elsewhere = tmp_path / "made", tmp_path / "elsewhere"
    elsewhere.mkdir()
    settings = run.settings
    settings["model"]["options"] = {"_target_": "os.mkdir", "path": str(made)}
    run.config_file.write_text(yaml.safe_dump(settings))
    shutil.rmtree(run.plots)
    run.plots.symlink_to(elsewhere)
    with pytest.raises(GenderClsError, match=f"^{run.plots} is a link out of the run's folder"):
        again(run)
    run.plots.unlink()
    again(run)
    assert not made.exists()
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize(("content", "why"), [("path,grey\nx.png,1\n", "predictions.csv"), ("", "as CSV")])
def test_damaged_answers_under_shortcuts_leave_the_rest_of_the_report(run: Run, content: str, why: str) -> None:
    run.variants.write_text(content)
    again(run)
    metrics = run.metrics
    assert metrics["shortcuts"] is None
    assert str(run.variants) in metrics["problems"]["shortcuts"]
    assert why in metrics["problems"]["shortcuts"]
    assert "remove it" in run.report.read_text()


def test_every_variant_is_its_distortion_in_another_process_too() -> None:
    image = torch.randint(0, 256, (3, 48, 20), dtype=torch.uint8)
    for name in variants(stress=True, shortcuts=True):
        distort = pickle.loads(pickle.dumps(Distortion(name)))
        if name in SHORTCUTS:
            expected = apply_shortcut(image, name)
        else:
            expected = apply_corruption(image, name[:-2], int(name[-1]), "a.png")
        assert (distort(image, "a.png") == expected).all()


def test_of_a_sweep_the_trained_runs_are_evaluated(
    sweep: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    [first, second] = sorted(sweep.glob("*/status.json"))
    Run(first.parent).note(fitted=None, state="failed")
    Run(second.parent).metrics_file.unlink()
    settings = {"run": str(sweep), "shortcuts": False, "resamples": 200, "output_dir": str(sweep), "num_workers": 0}
    (sweep / "leaderboard.json").unlink()
    evaluate(parse_config(settings, EvaluateConfig))
    [candidate] = json.loads((sweep / "leaderboard.json").read_text())["candidates"]
    assert candidate["seeds"] == [1]
    assert Run(second.parent).metrics["schema_version"] == SCHEMA_VERSION
    output = capsys.readouterr().out
    assert f"{first.parent.name} has not been trained to its end and is left out." in caplog.text
    assert f"Open {Run(second.parent).report}\n" in output


def test_a_run_in_use_is_not_evaluated(run: Run) -> None:
    with locked(run.folder), pytest.raises(GenderClsError, match=f"^{run.folder} is in use by another process"):
        evaluate(EvaluateConfig(run=str(run.folder), output_dir=str(run.folder)))


def test_predictions_are_those_of_the_network_through_any_distortion(run: Run) -> None:
    predictor = Predictor(run.best_checkpoint, ON_CPU)
    table = read_predictions(run.predictions)
    seen: list[tuple[tuple[int, ...], str]] = []

    def blacken(image: Tensor, path: str) -> Tensor:
        seen.append((tuple(image.shape), path))
        return torch.zeros_like(image)

    black = predictor.probabilities(table, ImageStore(Path(run.data["root"])), blacken)
    assert seen == [((3, 48, 24), path) for path in table["path"]], "the native crop comes first"
    with torch.no_grad():
        expected = predictor.classifier(torch.zeros(1, 3, 32, 16, dtype=torch.uint8)).double().softmax(dim=1)
    assert black == pytest.approx(expected.numpy().repeat(len(table), axis=0), abs=1e-6)
    plain = predictor.probabilities(table, ImageStore(Path(run.data["root"])))
    assert plain == pytest.approx(table[["p_FEMALE", "p_MALE"]].to_numpy(), abs=1e-6)


def test_runs_are_compared(sweep: Path, tmp_path: Path) -> None:
    names = [path.parent.name for path in sorted(sweep.glob("*/status.json"))]
    result = command("compare", *COMPARING.split()[3:], "name=one", "resamples=200", cwd=tmp_path)
    folder = tmp_path / "outputs" / "comparisons" / "one"
    verdict = json.loads((folder / "compare.json").read_text())["verdict"]
    assert all(f"- {sentence}" in result.stdout for sentence in verdict)
    assert "|" not in result.stdout, "Markdown stays in compare.md"
    assert result.stdout.endswith("\nOpen outputs/comparisons/one/compare.html\n")
    assert_matches(json.loads((folder / "compare.json").read_text()), Comparison)
    runs = [Run(sweep / name) for name in names]
    config = runs[1].config_file.read_text()
    runs[1].config_file.write_text(config.replace("seed: 1", "seed: 0").replace("lr: 0.0005", "lr: 0.005"))
    listed = f"runs=[{sweep / names[0]},{sweep / names[1]}]"
    result = command("compare", listed, "name=two", "resamples=200", cwd=tmp_path)
    for words in ("custom_cnn #1 - custom_cnn #2", "recipe.lr", "0.0005", "0.005", "soft vote of all"):
        assert words in result.stdout

    again = command("compare", *COMPARING.split()[3:], "name=one", cwd=tmp_path, code=1)
    assert f"{folder} exists already: choose another name, or remove it." in again.stderr
    runs[0].metrics_file.write_text("{}")
    result = command("compare", *COMPARING.split()[3:], "resamples=200", cwd=tmp_path)
    assert f"was not evaluated: run python -m gender_cls.evaluate run={runs[0].folder}." in result.stdout
    result = command("compare", f"runs={runs[0].folder}", cwd=tmp_path, code=1)
    assert "There is nothing to compare" in result.stderr
