"""By what a request is known again."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from gender_cls.config.predict import PredictConfig
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.predict.request import request_of


def test_other_frames_another_rule_and_a_changed_file_are_another_request(tmp_path: Path) -> None:
    (video := tmp_path / "video.mp4").write_bytes(b"1")
    rows = pd.DataFrame({"path": [str(video)], "frame": [3]})

    def request(first_frame: int, rows: pd.DataFrame = rows, threshold: float = 0.5) -> dict[str, Any]:
        combined = SimpleNamespace(rule=DecisionRule(1.0, threshold, None), temperatures=[1.0])
        answerer: Any = SimpleNamespace(models=[], combined=combined, batch_size=4)
        return request_of(PredictConfig(run="r", images="i", first_frame=first_frame), rows, answerer)

    assert request(1) == request(1)
    assert request(1) != request(0), "frame 3 is the third or the fourth"
    assert request(1) != request(1, rows.assign(frame=4))
    assert request(1) != request(1, threshold=0.6)
    before = request(1)
    video.write_bytes(b"22")
    assert request(1) != before
