import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from gender_cls.evaluation.multiple_testing import holm


def test_holm_by_hand() -> None:
    # 0.01 x 3; 0.02 x 2; 0.03 x 1 is smaller than the 0.04 before it and takes that.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.04]) == pytest.approx([0.04])
    assert holm([]).shape == (0,)


def test_holm_is_that_of_statsmodels_with_ties_and_extremes() -> None:
    rng = np.random.default_rng(0)
    for tests in range(1, 30):
        p_values = rng.integers(0, 21, tests) / 20 * rng.choice([0.01, 0.2, 1.0])
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
