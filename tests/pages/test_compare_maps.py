import base64
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.comparing import TABLE, explained, scores_of, write_run
from helpers.html_page import EVIL, Page, assert_runs_and_fetches_nothing, draw
from helpers.prediction_tables import answered
from numpy.typing import NDArray
from PIL import Image

from gender_cls.config.data import ResizeMode
from gender_cls.data.resizing import place_in_input
from gender_cls.explain.run_maps import RunMaps
from gender_cls.pages.compare_maps import LookedAt, MapTable, ModelMaps, Prediction, on_crop, scale_end, side_by_side
from gender_cls.reports.comparison import write_comparison
from gender_cls.runs.run import Run

NATIVE = (112, 56)  # height and width of a crop
SIZE = (72, 144)  # width and height that it is laid out at
STRETCHED = ((256, 128), ResizeMode.stretch)
LETTERBOXED = ((224, 224), ResizeMode.letterbox)
TEST = TABLE["path"][4:].tolist()
OTHER = answered(TABLE, np.array([0.1, 0.6, 0.4, 0.7, 0.9, 0.2, 0.8, 0.9, 0.3, 0.1]))  # differs on 007 and 009


def box_of(size: tuple[int, int], mode: ResizeMode) -> NDArray[np.float64]:
    return np.array(place_in_input(NATIVE, size, mode))


def bright_block(size: tuple[int, int], mode: ResizeMode) -> NDArray[np.float32]:
    """All evidence on an eighth of the crop: its second quarter from the top, and the middle half across."""
    left, top, right, bottom = box_of(size, mode)
    width, height = right - left, bottom - top
    values = np.zeros(size, np.float32)
    rows = slice(round(top + height / 4), round(top + height / 2))
    values[rows, round(left + width / 4) : round(left + 3 * width / 4)] = 1
    return values / values.mean()


def kept(
    values: NDArray[np.float32],
    box: NDArray[np.float64],
    *methods: str,
    paths: list[str] = TEST,
    answer: str = "FEMALE",
) -> RunMaps:
    """The same map of each path by each method."""
    maps = {method: np.stack([values] * len(paths)) for method in methods or ["saliency"]}
    return RunMaps(paths, explained=[answer] * len(paths), maps=maps, boxes=np.stack([box] * len(paths)))


def block_maps(size: tuple[int, int], mode: ResizeMode, *methods: str, paths: list[str] = TEST) -> RunMaps:
    return kept(bright_block(size, mode), box_of(size, mode), *methods, paths=paths)


def run_with_maps(
    folder: Path, maps: RunMaps | None, table: pd.DataFrame = TABLE, methods: tuple[str, ...] = ("saliency",)
) -> Run:
    about = explained(*(scores_of(method) for method in methods))
    return write_run(folder, table, model=folder.name, explanations=about, maps=maps)


def page_of(tmp_path: Path, *runs: Run, thumbnails: int = 24) -> Page:
    folder, data = tmp_path / "out", tmp_path / "data"
    write_comparison(folder, runs, name="compare", resamples=20, thumbnails=thumbnails, data_root=data)
    return Page((folder / "compare.html").read_text())


def looked_at(page: Page) -> str:
    """The text of the section."""
    return page.text.split("What they look at", 2)[2].split("Wrong for all", 1)[0]


def pixels(uri: str) -> NDArray[np.uint8]:
    prefix = "data:image/webp;base64,"
    assert uri.startswith(prefix)
    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.removeprefix(prefix)))))


def table_of_maps(*maps: RunMaps, tables: tuple[pd.DataFrame, ...] = (TABLE,) * 3) -> MapTable:
    """Of candidates `0`, `1`, ..."""
    models = []
    for index, (one, table) in enumerate(zip(maps, tables, strict=False)):
        test = table[table["split"] == "test"].itertuples()
        predictions = {row.path: Prediction(row.label, row.prediction, 0.9) for row in test}
        models.append(ModelMaps(str(index), one, predictions))
    found = side_by_side(models, None, 8)
    assert found is not None
    return found


def tiles_of(found: LookedAt) -> NDArray[np.uint8]:
    """The pixels of its only map."""
    (tile,) = found.tiles
    assert tile is not None
    return pixels(tile.uri)


@pytest.mark.parametrize("given", [STRETCHED, LETTERBOXED, ((64, 32), ResizeMode.stretch)])
def test_a_map_lies_on_the_crop_wherever_the_input_has_it(given: tuple[tuple[int, int], ResizeMode]) -> None:
    laid = on_crop(bright_block(*given), box_of(*given), SIZE)
    assert laid.shape == (144, 72)
    assert np.isfinite(laid).all()
    assert laid[40:68, 22:50] == pytest.approx(8)  # an eighth of the crop has it all
    outside = laid.copy()
    outside[32:76, 14:58] = 0
    assert outside == pytest.approx(0)
    assert laid.mean() == pytest.approx(1, abs=0.02)


def test_evidence_on_the_padding_leaves_less_for_the_crop() -> None:
    even = np.ones((224, 224), np.float32)
    assert on_crop(even, box_of(*LETTERBOXED), SIZE) == pytest.approx(0.5)  # the crop fills half of the input
    assert on_crop(np.ones((256, 128), np.float32), box_of(*STRETCHED), SIZE) == pytest.approx(1)


def test_what_was_cut_off_is_not_known() -> None:
    box = box_of((64, 64), ResizeMode.crop)
    assert box == pytest.approx([0, -32, 64, 96])
    laid = on_crop(np.ones((64, 64), np.float32), box, SIZE)
    assert laid[36:108] == pytest.approx(1)
    assert np.isnan([*laid[:36], *laid[108:]]).all()


def test_a_sliver_of_a_very_wide_crop_is_a_pixel_wide() -> None:
    box = np.array(place_in_input((20, 3000), (256, 128), ResizeMode.crop))
    laid = on_crop(np.ones((256, 128), np.float32), box, (144, 1))
    assert np.isfinite(laid).sum() == 1
    assert laid[0, 72] == pytest.approx(1)


def test_the_scale_ends_at_a_high_quantile_of_all_maps() -> None:
    ramp = np.arange(100, dtype=np.float32).reshape(10, 10)
    assert scale_end([[ramp, -ramp], [ramp, ramp]]) == pytest.approx(98)
    assert scale_end([[np.full((2, 2), np.nan), np.full((2, 2), 3.14159)]]) == pytest.approx(3.1)
    assert scale_end([[np.full((2, 2), np.nan)], [np.zeros((2, 2))]]) == 1


def test_the_same_density_has_the_same_colour_in_every_column(tmp_path: Path) -> None:
    weaker = bright_block(*STRETCHED) / 4 + 0.75
    weaker_maps = kept(weaker / weaker.mean(), box_of(*STRETCHED))
    maps = table_of_maps(block_maps(*STRETCHED), block_maps(*LETTERBOXED), weaker_maps)
    assert maps.methods[0].end == pytest.approx(8)
    assert not maps.methods[0].signed
    assert len(maps.rows) == 6
    for _, looked in maps.rows:
        stretched, letterboxed, weak = (tiles_of(one).astype(int) for one in looked)
        assert stretched.shape == letterboxed.shape == weak.shape
        height, width, _ = stretched.shape
        centre = (slice(height // 4 + 10, height // 2 - 10), slice(width // 4 + 10, 3 * width // 4 - 10))
        assert stretched[centre] == pytest.approx(letterboxed[centre], abs=8)
        assert stretched[centre].mean() > 140  # the bright end of the scale
        assert weak[centre].mean() < stretched[centre].mean() - 30
        assert stretched[-20:].mean() == pytest.approx(83, abs=3)  # its low end: the dimmed crop
        assert weak[-20:, :, 0].mean() > stretched[-20:, :, 0].mean() + 10


def test_a_signed_scale_has_two_ends(tmp_path: Path) -> None:
    signed = (kept(sign * bright_block(*STRETCHED), box_of(*STRETCHED), "grad_cam") for sign in (1, -1))
    maps = table_of_maps(*signed)
    assert maps.methods[0].signed
    against, for_class = pixels(maps.methods[0].legend)[6, [3, -4]].astype(int)
    height, width = tiles_of(maps.rows[0][1][0]).shape[:2]
    middle = (3 * height // 8, width // 2)
    first, second = (tiles_of(one)[middle].astype(int) for one in maps.rows[0][1])
    assert first == pytest.approx(for_class, abs=12)
    assert second == pytest.approx(against, abs=12)
    assert np.abs(for_class - against).max() > 80


def test_what_was_cut_off_is_blank(tmp_path: Path) -> None:
    given = ((64, 64), ResizeMode.crop)
    maps = table_of_maps(kept(np.ones((64, 64), np.float32), box_of(*given)), block_maps(*STRETCHED))
    cut, whole = map(tiles_of, maps.rows[0][1])
    assert cut.shape[2] == 4
    height = len(cut)
    assert (cut[height // 4 + 1 : 3 * height // 4 - 1, :, 3] == 255).all()
    assert (cut[: height // 4 - 1, :, 3] == 0).all()
    assert whole.shape == (*cut.shape[:2], 3)


def test_images_on_which_the_answers_differ_come_first(tmp_path: Path) -> None:
    second = block_maps(*LETTERBOXED, paths=[*TEST[1:], TEST[0], "elsewhere.png"])
    maps = table_of_maps(block_maps(*STRETCHED), second, tables=(TABLE, OTHER))
    assert [image.path for image, _ in maps.rows] == ["007.png", "009.png", "004.png", "005.png", "006.png", "008.png"]
    assert (maps.differing, maps.common) == (2, 6)
    answers = [[one.prediction.predicted for one in looked] for _, looked in maps.rows[:3]]
    assert answers == [["MALE", "FEMALE"], ["FEMALE", "MALE"], ["FEMALE", "FEMALE"]]


def test_the_page_lays_the_maps_side_by_side(tmp_path: Path) -> None:
    for index, path in enumerate(TEST[:-1]):
        draw(tmp_path / "data", path, index)
    page = page_of(
        tmp_path,
        run_with_maps(tmp_path / "one", block_maps(*STRETCHED)),
        run_with_maps(tmp_path / "two", block_maps(*LETTERBOXED), OTHER),
        thumbnails=9,
    )
    text = looked_at(page)
    for words in (
        "Maps of test images that explain the predicted class",
        "Saliency candidate on the cue insertion gain deletion gain head upper body lower body outside the person",
        "1 one 86 % FEMALE 84 % MALE +0.100 +0.050 23 % even 16 % 23 % even 16 % 23 % even 16 % 30 % even 52 % changes",
        "Images with different answers come first.",
        "Shown are 3 of the 6 images that all have maps of.",
        "Saliency 0 8 times a uniform map or more input 1 one 2 two Saliency Saliency MALE 007.png",
        "MALE 007.png MALE 0.90 ✓ right map of FEMALE FEMALE 0.90 ✗ WRONG",
        "no picture MALE 009.png FEMALE 0.60 ✗ WRONG MALE 0.90 ✓ right",
    ):
        assert words in text
    maps = [
        "007.png",
        *(f"Saliency, {name}" for name in ("one: 007.png", "two: 007.png", "one: 009.png", "two: 009.png")),
    ]
    assert [name for name in page.pictures if name in maps] == maps
    assert {"href": "#looks"} in page.all("a")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    both = ("saliency", "grad_cam")
    good = [run_with_maps(tmp_path / name, block_maps(*STRETCHED, *both), methods=both) for name in "ab"]
    fewer = run_with_maps(tmp_path / "fewer", block_maps(*LETTERBOXED))
    gone = run_with_maps(tmp_path / "gone", None)
    never = write_run(tmp_path / "never", TABLE, model="never")
    damaged = run_with_maps(tmp_path / "damaged", None)
    damaged.maps.parent.mkdir()
    damaged.maps.write_bytes(b"PK\3\4 cut off")
    text = looked_at(page_of(tmp_path, *good, fewer, gone, never, damaged))
    maps, scores = text.split("Scores of the maps", 1)
    assert "input 1 a 2 b 3 fewer Saliency Grad-CAM Saliency Grad-CAM Saliency Grad-CAM no picture" in maps
    assert maps.count("not kept") == 6  # Grad-CAM of the third, for each image
    assert "All give the same answers for these images." in maps
    assert "Grad-CAM against the class, 8 for it, 8 times a uniform map or more" in maps
    assert "No maps were kept of gone, never." in maps
    assert f"{damaged.maps} is damaged" in maps
    saliency, grad_cam = scores.split("Grad-CAM", 1)
    assert "3 fewer – – – – – – –" in grad_cam
    assert "3 fewer 86 % FEMALE 84 % MALE +0.100" in saliency
    assert "5 never – – – – – – –" in saliency


def test_different_images_cannot_be_laid_side_by_side(tmp_path: Path) -> None:
    halves = {"a": TEST[:3], "b": TEST[3:]}
    runs = [run_with_maps(tmp_path / name, block_maps(*STRETCHED, paths=paths)) for name, paths in halves.items()]
    text = looked_at(page_of(tmp_path, *runs))
    assert "maps of different images" in text
    assert "times a uniform map" not in text


def test_without_maps_there_are_scores_and_without_scores_a_sentence(tmp_path: Path) -> None:
    run = run_with_maps(tmp_path / "one", block_maps(*STRETCHED))
    text = looked_at(page_of(tmp_path, run))
    assert "input 1 one Saliency no picture FEMALE 004.png FEMALE 0.90 ✓ right" in text
    assert "answers come first" not in text  # of a single candidate
    text = looked_at(page_of(tmp_path, run, thumbnails=2))
    assert "1 one 86 % FEMALE 84 % MALE +0.100" in text
    assert "times a uniform map" not in text
    assert "No candidate's maps have been measured." in looked_at(page_of(tmp_path, write_run(tmp_path / "two", TABLE)))


def test_maps_that_show_nothing_say_so(tmp_path: Path) -> None:
    maps = (kept(np.full((64, 32), value, np.float32), box_of(*STRETCHED) / 4) for value in (0, np.nan))
    runs = [run_with_maps(tmp_path / name, one) for name, one in zip(("zero", "nan"), maps, strict=True)]
    text = looked_at(page_of(tmp_path, *runs))
    assert "The map is all zero. The map is not finite. FEMALE 0.90 ✓ right FEMALE 0.90 ✓ right" in text
    assert "0 1 times a uniform map or more" in text


def test_unknown_scores_and_flags_are_shown_as_such(tmp_path: Path) -> None:
    scores = scores_of("saliency", None, None, None), scores_of("saliency", -0.1, flagged=True)
    runs = [write_run(tmp_path / f"m{i}", TABLE, f"m{i}", explanations=explained(one)) for i, one in enumerate(scores)]
    text = looked_at(page_of(tmp_path, *runs))
    assert re.search(
        "1 m0 86 % FEMALE 84 % MALE – – – – – – – 2 m1 86 % FEMALE 84 % MALE −0.100 −0.050 23.* hardly changes", text
    )


def test_many_candidates_and_evil_names_make_a_small_and_safe_page(tmp_path: Path) -> None:
    methods = ("saliency", "grad_cam")
    rng = np.random.default_rng(0)
    paths = [f"{index}{EVIL}.png" for index in range(10)]
    tests = TABLE[4:6].iloc[[0, 1] * 5].assign(path=paths, identity=[str(index) for index in range(10)])
    table = pd.concat([TABLE[:4], tests])
    for path in paths:
        draw(tmp_path / "data", path, size=(300, 140))
    noisy = rng.exponential(1, (64, 32)).astype(np.float32)
    maps = kept(noisy, np.array([0.0, 0, 32, 64]), *methods, paths=paths, answer=EVIL)
    about = explained(*(scores_of(method) for method in methods))
    runs = [write_run(tmp_path / f"{i}", table, f"{i}{EVIL}", explanations=about, maps=maps) for i in range(1, 10)]
    page = page_of(tmp_path, write_run(tmp_path / "0", table, "none", explanations=about), *runs)
    text = looked_at(page)
    assert "the best 8 of 10 by validation." in text
    assert "Shown are 8 of the 10 images that all have maps of." in text
    assert "No maps were kept of none." in text
    assert len([name for name in page.pictures if f", 1{EVIL}: " in name]) == 2 * 8
    assert not [name for name in page.pictures if f", 9{EVIL}: " in name]
    assert (tmp_path / "out" / "compare.html").stat().st_size < 3_000_000
    assert_runs_and_fetches_nothing(page)
