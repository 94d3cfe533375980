"""A run that saw a part of its batches stands below the others, whatever its score, with the reason."""

from pathlib import Path

from helpers.comparing import TABLE, compare, write_run


def test_a_debugging_run_is_not_ranked(tmp_path: Path) -> None:
    perfect = TABLE.assign(prediction=TABLE["label"])
    real = write_run(tmp_path / "real", TABLE, "net")
    partly = write_run(tmp_path / "partly", perfect, "best", trainer__limit_train_batches=2)
    found = compare(partly, real)
    assert [(row["title"], row["compared"]) for row in found["candidates"]] == [("net", True), ("best", False)]
    assert "trainer.limit_train_batches=2" in (found["candidates"][1]["remark"] or "")
    assert found["candidates"][1]["test"]["mean"] is None


def test_a_limit_of_all_batches_changes_nothing(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", TABLE, "net", trainer__limit_train_batches=1.0, trainer__fast_dev_run=False)
    assert compare(one)["candidates"][0]["compared"]
