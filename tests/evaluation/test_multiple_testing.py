import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from gender_cls.evaluation.multiple_testing import holm


def test_holm_is_that_of_statsmodels_with_ties_and_extremes() -> None:
    rng = np.random.default_rng(0)
    assert holm([]).shape == (0,)
    for tests in (1, 2, 3, 5, 8, 13, 21, 29):
        p_values = rng.integers(0, 21, tests) / 20 * rng.choice([0.01, 0.2, 1.0])
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
