from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.commands import python
from helpers.prediction_tables import letters, table_of
from scipy.special import expit

from gender_cls.config.evaluation import EvaluationConfig
from gender_cls.errors import GenderClsError
from gender_cls.evaluation.conclusions import draw_conclusions, with_answers
from gender_cls.evaluation.predictions import predictions_table, read_predictions

ROWS = pd.DataFrame(
    {
        "path": ["a.png", "b.png", "c.png"],
        "label": ["FEMALE", "MALE", "MALE"],
        "identity": ["01", "", "NA"],
        "camera": ["1", "2", ""],
        "source": "",
        "split": ["val", "test", "test"],
        "view": ["", "front", "null"],
        "native_height": [120, 48, 90],
        "brightness": [99.5, 100.25, 3.0],
    }
)
PROBABILITIES = np.array([[0.1 + 0.2, 1 - (0.1 + 0.2)], [1e-17, 1.0], [0.5, 0.5]])
HEADER = b"path,label,identity,split,p_FEMALE,p_MALE,prediction\n"
NO_LOGITS = pd.DataFrame({"path": []})


def test_the_table_keeps_every_column_and_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    table = predictions_table(ROWS, PROBABILITIES)
    assert list(table.columns) == [*ROWS.columns, "p_FEMALE", "p_MALE", "prediction"]
    assert list(table["prediction"]) == ["MALE", "MALE", "FEMALE"], "a tie is the first label"
    table.assign(calibrated_p_FEMALE=0.5, answer="abstain").to_csv(tmp_path / "p.csv", index=False)
    again = read_predictions(tmp_path / "p.csv")
    assert list(again.columns) == list(table.columns)
    assert (again[["p_FEMALE", "p_MALE"]].to_numpy() == PROBABILITIES).all()
    names = ["identity", "camera", "source", "view"]
    assert again[names].to_numpy().tolist() == ROWS[names].to_numpy().tolist(), "names stay text, also NA and 01"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing: python -m gender_cls.evaluate run={folder} "),
        (b"path,label\na,b\n", "'identity'.*evaluate the run again"),
        (b"\xff\xfe\x00", "as CSV.*evaluate the run again"),
        (HEADER + b"a,b,c,d,0.5,much,e\n", "'much'.*the run again"),
        (HEADER + b"a,MALE,c,test,0.5,0.5,MALE\nb,MALE,c,test,0.5\n", "in line 3 prediction is '', .*the run again"),
        (HEADER + b"a,MALE,c,test,0.5,0.5,MA", "in line 2 prediction is MA, not FEMALE or MALE"),
        (HEADER + b"a,Mann,c,test,0.5,0.5,MALE\n", "in line 2 label is Mann, not FEMALE or MALE"),
        (HEADER + b"a,MALE,c,train,0.5,0.5,MALE\n", "in line 2 split is train, not val or test"),
    ],
)
def test_a_file_that_is_no_table_of_predictions_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "predictions.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(GenderClsError, match=f"^{file} .*{message.format(folder=tmp_path)}"):
        read_predictions(file)


def simulated(rows: int, **columns: object) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    female = rng.random(rows) < 0.4
    p_female = expit(np.where(female, 1.0, -1.0) + 1.5 * rng.standard_normal(rows))
    split, camera = np.where(np.arange(rows) // 3 % 2, "val", "test"), rng.choice(["c1", "c2"], rows)
    return table_of(letters(female), p_female, images_each=3, split=split, camera=camera).assign(**columns)


@pytest.mark.parametrize(
    "table",
    [
        simulated(300, label="MALE"),
        simulated(300, identity="one"),
        simulated(300, identity=""),
        simulated(300, p_FEMALE=0.5, p_MALE=0.5, prediction="FEMALE"),
        simulated(300, p_FEMALE=np.nan, p_MALE=np.nan),
        simulated(300, p_FEMALE=0.0, p_MALE=1.0, prediction="MALE"),
        simulated(300, split="val"),
        simulated(300, split="test"),
        simulated(300).iloc[:0],
        simulated(300).iloc[:2],
    ],
    ids=["one class", "one person", "nobody", "constant", "nan", "certain", "no test", "no validation", "none", "two"],
)
def test_whatever_the_table_there_are_conclusions_without_a_warning(table: pd.DataFrame) -> None:
    conclusions = draw_conclusions(table.reset_index(drop=True), NO_LOGITS, EvaluationConfig(resamples=200))
    score = conclusions["test"]["scores"]["balanced_accuracy"]
    assert score["value"] is not None or score["remark"].endswith(".")
    assert conclusions["shortcuts"] is conclusions["stress"] is None
    assert set(with_answers(table, conclusions)["answer"]) <= {"FEMALE", "MALE", "abstain"}


def test_what_is_chosen_does_not_look_at_test() -> None:
    table, settings = simulated(600), EvaluationConfig(resamples=200)
    before = draw_conclusions(table, NO_LOGITS, settings)
    test = table["split"] == "test"
    flipped = table.assign(label=table["label"].where(~test, "MALE"), p_FEMALE=table["p_FEMALE"].where(~test, 0.9))
    after = draw_conclusions(flipped.assign(p_MALE=1 - flipped["p_FEMALE"]), NO_LOGITS, settings)
    for chapter, key in (("calibration", "temperature"), ("operating_point", "threshold"), ("abstention", "band")):
        assert after[chapter][key] == before[chapter][key]
    assert after["validation"] == before["validation"]
    assert after["test"] != before["test"]


def test_conclusions_and_comparisons_need_no_torch(tmp_path: Path) -> None:
    modules = "gender_cls.evaluation.conclusions, gender_cls.evaluation.comparison.compare_runs"
    script = f"import sys, {modules}; sys.exit('torch was imported' if 'torch' in sys.modules else 0)"
    python("-c", script, cwd=tmp_path)
