"""What counts as the same answer, worked out by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from gender_cls.errors import GenderClsError
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.export_schema import Check
from gender_cls.export.parity import check_batches, check_crops, check_resize
from gender_cls.models.onnx_model import Outputs

RULE = DecisionRule(temperature=1.0, threshold=0.5, band=(0.4, 0.7))
NAMES = ["a.png", "b.png", "c.png"]
LOGITS = np.array([[2.0, 0.0], [0.0, 5.0], [0.2, 0.0]], np.float32)
"""Probabilities of FEMALE 0.8808, 0.0067 and 0.5498: FEMALE, MALE and abstain."""

CROPS = [np.full((1, 1, 3), index, np.uint8) for index in range(3)]
"""Each says which row it is."""


def outputs(logits: NDArray, answers: list[int]) -> Outputs:
    probability = expit(logits[:, 0].astype(float) - logits[:, 1])
    return Outputs(logits.astype(np.float32), probability.astype(np.float32), np.array(answers))


def compare(found: Outputs, rule: DecisionRule = RULE, logits: NDArray = LOGITS) -> Check:
    def ask(crop: NDArray[np.uint8]) -> Outputs:
        row = int(crop[0, 0, 0])
        return Outputs(*(output[row : row + 1] for output in found))

    return check_crops("model_native.onnx", ask, CROPS[: len(logits)], logits, rule, NAMES)


def test_equal_answers_have_no_difference() -> None:
    check = compare(outputs(LOGITS, [0, 1, 2]))
    assert check["largest_logit_difference"] == 0
    assert check["largest_probability_difference"] < 1e-7
    assert (check["changed_answers"], check["near_border"], check["images"]) == (0, 0, 3)


@pytest.mark.parametrize(
    ("row", "change", "allowed"),
    [
        (1, (0, 0.0049), True),  # of a logit of 5
        (1, (0, 0.0051), False),
        (1, (0.0009, 0), True),  # of a logit of 0
        (1, (0.0011, 0), False),
        (0, (-0.0004, 0.0004), True),  # the probability moves by 0.105 * 0.0008 = 0.00008
        (0, (-0.0009, 0.0009), False),  # by 0.00019, although each logit may move that far
    ],
)
def test_how_far_numbers_may_differ(row: int, change: tuple[float, float], allowed: bool) -> None:
    moved = LOGITS.astype(float)
    moved[row] += change
    if allowed:
        found = compare(outputs(moved, [0, 1, 2]))
        assert found["largest_logit_difference"] == pytest.approx(max(map(abs, change)), rel=1e-3)
        assert found["worst"] == NAMES[row]
    else:
        with pytest.raises(GenderClsError, match=NAMES[row]):
            compare(outputs(moved, [0, 1, 2]))


def test_another_answer_is_refused_and_named() -> None:
    with pytest.raises(GenderClsError, match="instead") as caught:
        compare(outputs(LOGITS, [0, 1, 0]))
    assert all(word in str(caught.value) for word in ("c.png", "FEMALE instead of", "and abstain"))


@pytest.mark.parametrize("border", [0.4, 0.5, 0.7])
def test_a_rows_answer_next_to_a_border_does_not_count(border: float) -> None:
    def check_at(distance: float) -> Check:
        odds = np.log((border + distance) / (1 - border - distance))
        logits = np.array([[odds, 0.0]], np.float32)
        return compare(outputs(logits, [1]), logits=logits)

    for distance in (-0.00009, 0.00009):
        assert check_at(distance)["near_border"] == 1
    with pytest.raises(GenderClsError):  # farther away the answer counts, which is not MALE
        check_at(0.0002)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_no_number_is_refused(broken: float) -> None:
    found = outputs(LOGITS, [0, 1, 2])
    found.logits[1, 0] = broken
    with pytest.raises(GenderClsError, match=NAMES[1]):
        compare(found)
    found = outputs(LOGITS, [0, 1, 2])
    found.probability[0] = broken
    with pytest.raises(GenderClsError, match=NAMES[0]):
        compare(found)


def test_every_size_of_batch_is_asked_for_and_no_image_is_left_out() -> None:
    sizes: list[int] = []
    pixels = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1).repeat(3, axis=3)
    logits = np.stack([np.linspace(2, 6, 40), np.zeros(40)], axis=1).astype(np.float32)

    def ask(batch: NDArray[np.uint8]) -> Outputs:
        sizes.append(len(batch))
        rows = batch[:, 0, 0, 0]
        return outputs(logits[rows], [0] * len(rows))

    checks = list(check_batches("model.onnx", ask, pixels, logits, RULE, [f"{row}.png" for row in range(40)]))
    assert [(check["batch"], check["images"]) for check in checks] == [(1, 8), (7, 40), (32, 40)]
    assert sizes == [1] * 8 + [7] * 5 + [5] + [32, 8]
    few = list(check_batches("model.onnx", ask, pixels[:3], logits[:3], RULE, ["0.png", "1.png", "2.png"]))
    assert [check["images"] for check in few] == [3, 7, 32]  # images count several times, so that the batch is full


def test_a_file_that_does_not_run_is_named() -> None:
    def ask(batch: NDArray[np.uint8]) -> Outputs:
        if len(batch) != 1:
            raise RuntimeError("expected 1\ngot 7")
        return outputs(LOGITS[:1], [0])

    with pytest.raises(GenderClsError, match="7 x 1 x 1 x 3") as caught:
        list(check_batches("model.onnx", ask, np.zeros((9, 1, 1, 3), np.uint8), LOGITS[[0] * 9], RULE, ["a"] * 9))
    assert "\n" not in str(caught.value)


def test_bytes_of_the_resize() -> None:
    expected = [np.full((10, 10, 3), 100, np.uint8), np.full((10, 10, 3), 50, np.uint8)]
    sizes, names = [(20, 20), (30, 5)], ["a.png", "b.png"]
    found = [one.copy() for one in expected]
    found[1][0, 0] = 52, 48, 50  # 2 of 600 bytes
    check = check_resize(found, expected, sizes, names)
    assert check["equal"] == pytest.approx(598 / 600)
    assert (check["largest_difference"], check["sizes"]) == (2, [[20, 20], [30, 5]])
    found[1][0, 0, 0] = 53
    with pytest.raises(GenderClsError, match="30 x 5"):
        check_resize(found, expected, sizes, names)
    found[1] = expected[1].copy()
    found[0][:, :2, :1] = 101  # 20 of 300 in the first, so 580 of 600
    with pytest.raises(GenderClsError, match="20 x 20"):
        check_resize(found, expected, sizes, names)
