"""Candidates whose test split was left alone: they have a validation score, and nothing else."""

from pathlib import Path

import pytest
from helpers.comparing import TABLE, compare, write_run

from gender_cls.evaluation.comparison.compare_json import NOT_TESTED
from gender_cls.evaluation.untested import validation_score
from gender_cls.runs.run import Run


def untested(folder: Path, score: float, **settings: object) -> Run:
    """Its second epoch was chosen."""
    run = write_run(folder, TABLE, evaluation__test=False, **settings)  # type: ignore[arg-type]
    run.predictions.unlink()
    run.metrics_file.unlink()
    run.note(best_epoch=2)
    run.epochs.write_text(f"epoch,val_loss,val_balanced_accuracy\n1,0.7,0.99\n2,0.6,{score}\n3,0.5,0.1\n")
    return run


def test_the_score_is_that_of_the_chosen_epoch(tmp_path: Path) -> None:
    run = untested(tmp_path / "run", 0.75)
    assert validation_score(run) == 0.75
    run.epochs.write_text("epoch,val_loss\n2,0.6\n")  # of another version
    assert validation_score(run) is None
    run.epochs.unlink()
    assert validation_score(run) is None


def test_untested_candidates_are_sorted_by_the_mean_over_seeds_and_never_paired(tmp_path: Path) -> None:
    runs = [untested(tmp_path / f"a{seed}", score, seed=seed) for seed, score in ((1, 0.7), (0, 0.9))]
    runs += [untested(tmp_path / "b", 0.85, recipe__lr=1.0)]
    found = compare(*runs)
    rows = found["candidates"]
    assert [(row["seeds"], row["validation"]["mean"]) for row in rows] == [([0], 0.85), ([0, 1], pytest.approx(0.8))]
    assert rows[1]["validation"]["spread"] == pytest.approx(0.02**0.5)  # of 0.7 and 0.9
    assert [(row["compared"], row["remark"], row["test"]["mean"]) for row in rows] == [(False, NOT_TESTED, None)] * 2
    assert (found["pairs"], found["images"]) == ([], 0)
    assert f"run={tmp_path / 'b'} " in " ".join(found["verdict"])

    tested = write_run(tmp_path / "c", TABLE, recipe__lr=2.0)
    found = compare(*runs, tested)
    assert [row["compared"] for row in found["candidates"]] == [True, False, False]
    assert "Not tested, and so not compared: net #2, net #3." in found["cautions"]


def test_a_seed_that_was_not_tested_is_named_among_tested_ones(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a", TABLE, seed=0), untested(tmp_path / "b", 0.9, seed=1)]
    (row,) = compare(*runs)["candidates"]
    assert f"python -m gender_cls.evaluate run={tmp_path / 'b'}" in (row["remark"] or "")
