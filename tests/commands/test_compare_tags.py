"""`compare tags=...` takes the runs that were trained with all of them."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from gender_cls.compare import named_runs
from gender_cls.config.evaluation import CompareConfig
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run


def test_only_runs_with_all_tags_are_compared(tmp_path: Path) -> None:
    for name, tags in {"a": ["night", "new"], "b": ["night"], "c": None}.items():
        run = Run(tmp_path / name)
        run.config_file.parent.mkdir(parents=True)
        run.config_file.write_text(OmegaConf.to_yaml(OmegaConf.create({"tags": tags, "trainer": {}})))
        run.note(model="m")
    found = {
        tags: [run.folder.name for run in named_runs(CompareConfig(runs=str(tmp_path), tags=[*tags]))]
        for tags in ((), ("night",), ("night", "new"))
    }
    assert found == {(): ["a", "b", "c"], ("night",): ["a", "b"], ("night", "new"): ["a"]}
    with pytest.raises(GenderClsError, match="tags day"):
        named_runs(CompareConfig(runs=str(tmp_path), tags=["day"]))
