import pytest
from helpers.example_comparison import example_transfer
from helpers.example_metrics import changed
from helpers.example_transfer import left_out_sources, transfer_of
from matplotlib.figure import Figure

from gender_cls.drawing.transfer_figure import LONGEST_NAME, transfer_figure


def drawn(figure: Figure | None) -> tuple[dict[tuple[int, int], list[str]], list[str], list[str]]:
    """Texts by (line, column), and the names of lines and columns."""
    assert figure is not None
    figure.draw_without_rendering()
    (axes,) = figure.axes
    texts: dict[tuple[int, int], list[str]] = {}
    for text in axes.texts:
        column, line = text.get_position()
        texts.setdefault((round(line), round(column)), []).append(text.get_text())
    names = [[label.get_text() for label in labels] for labels in (axes.get_yticklabels(), axes.get_xticklabels())]
    return texts, *names


def test_each_square_has_its_number_and_interval_where_its_names_are() -> None:
    texts, lines, columns = drawn(transfer_figure(example_transfer()))
    assert columns == ["peta", "pa100k", "market1501"]
    assert lines == [
        "mobilenetv2_100", "peta", "pa100k", "market1501", "convnext_tiny", "peta", "pa100k", "market1501",
    ]  # fmt: skip
    assert texts[1, 0] == ["0.842", "0.82 to 0.86"]
    assert texts[3, 0] == ["0.594†", "0.57 to 0.61"]
    assert texts[7, 1] == ["0.690", "0.67 to 0.71"]
    assert texts[5, 2] == ["–"], "not tested"
    assert len(texts) == 18
    assert drawn(transfer_figure(example_transfer(), "auroc"))[0][1, 0][0] == "0.903"


def test_the_best_square_is_the_darkest_and_marks_need_no_colour() -> None:
    figure = transfer_figure(example_transfer())
    assert figure is not None
    (axes,) = figure.axes
    (image,) = axes.images
    shades = image.to_rgba(image.get_array())[..., :3].sum(-1)
    values = image.get_array().filled(-1)
    assert shades[values > 0].argsort()[0] == values[values > 0].argsort()[-1]
    home = [patch.get_xy() for patch in axes.patches if patch.get_linewidth() and patch.get_linestyle() == "-"]
    assert [(round(y + 0.45), round(x + 0.47)) for x, y in home] == [(1, 0), (2, 1), (3, 2), (5, 0), (6, 1), (7, 2)]
    (hatched,) = (patch for patch in axes.patches if patch.get_hatch())
    assert (round(hatched.get_y()), round(hatched.get_x() + 0.47)) == (3, 0)
    assert axes.get_title("left") == "Balanced accuracy [95 %]; framed: home; †: seen in training"


def test_held_out_sources_are_dashed_and_one_method_has_no_heading() -> None:
    figure = transfer_figure(left_out_sources(("MIT", "iLID")))
    texts, lines, _ = drawn(figure)
    assert lines == ["all others"]
    assert texts[0, 1] == ["0.720", "0.69 to 0.75"]
    assert figure is not None
    assert [patch.get_linestyle() for patch in figure.axes[0].patches] != ["-", "-"]
    assert figure.axes[0].get_title("left").endswith("dashed: held out")


@pytest.mark.parametrize("name", ["x" * 60, "$1$ <b>"])
def test_names_stay_text_and_fit(name: str) -> None:
    figure = transfer_figure(transfer_of([name, "b"], [name, "net"]))
    texts, lines, columns = drawn(figure)
    assert max(map(len, lines + columns)) <= LONGEST_NAME
    assert len(texts) == 8


def test_without_any_score_there_is_no_figure() -> None:
    transfer = left_out_sources(("MIT",))
    assert transfer_figure(changed(transfer, {"rows.0.cells.0.scores.balanced_accuracy.value": None})) is None
