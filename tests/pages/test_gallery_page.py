import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.html_page import EVIL, Page, assert_runs_and_fetches_nothing, texts_of

from gender_cls.evaluation.explanation_schema import SCORE_COLUMNS
from gender_cls.pages.gallery_page import render_gallery
from gender_cls.pages.page import page_environment

NAN = float("nan")
ABOUT = {"title": "night", "folder": "outputs/night", "created": "2026-11-23T10:00:00+01:00"}

# name: label, answer, p_FEMALE, camera, saliency outside, insertion and deletion of Grad-CAM (random is 0.5)
IMAGES: dict[str, tuple[str, str, float, str, float, float, float]] = {
    "a.png": ("FEMALE", "FEMALE", 0.90, "gate", 0.1, 0.6, 0.40),
    "b.png": ("MALE", "FEMALE", 0.80, "yard", 0.5, 0.3, 0.60),
    "c.png": ("FEMALE", "MALE", 0.05, "gate", 0.3, 0.9, 0.10),
    "d.png": ("MALE", "MALE", 0.40, "", NAN, 0.5, 0.45),
    "e.png": ("unknown", "FEMALE", 0.55, "yard", 0.9, NAN, NAN),
    "f.png": ("MALE", "MALE", NAN, "gate", 0.2, 0.7, 0.50),
}


def row(name: str, method: str, role: str = "predicted", **changed: Any) -> dict[str, Any]:
    """Of explanations.csv."""
    label, answer, female, camera, outside, insertion, deletion = IMAGES[name]
    explained = answer if role == "predicted" else label
    blurred = {"insertion_blurred": insertion, "deletion_blurred": deletion, "random_blurred": 0.5}
    return {
        **{"path": f"crops/{name}", "label": label, "identity": name[0].upper(), "camera": camera, "source": ""},
        **{"group": 1, "prediction": answer, "p_FEMALE": female, "method": method, "role": role},
        **{"explained": explained, "probability": female if explained == "FEMALE" else 1 - female},
        **dict.fromkeys(SCORE_COLUMNS, NAN),
        **(blurred if method == "grad_cam" else {"outside": outside}),
        "agreement_saliency": NAN if method == "saliency" else -0.25,
        "agreement_grad_cam": NAN if method == "grad_cam" else -0.25,
        "picture": f"explanations/pictures/{name[0]}_{role}.webp",
    } | changed


def table(**changed: Any) -> pd.DataFrame:
    return pd.DataFrame([row(name, method, **changed) for name in IMAGES for method in ("saliency", "grad_cam")])


def html_of(rows: pd.DataFrame, total: int | None = 20, size: tuple[int, int] = (256, 128)) -> str:
    return render_gallery(rows, **ABOUT, chosen_from=total, image_size=size)


def page_of(*about: Any) -> Page:
    return Page(html_of(*about))


@pytest.fixture(scope="module")
def html() -> str:
    return html_of(table())


def cards(page: Page) -> list[tuple[str, dict[str, str]]]:
    """File name and attributes of each card, in the order of the page."""
    names = [heading["title"].removeprefix("crops/") for heading in page.all("h2")]
    return list(zip(names, page.all("article"), strict=True))


def options(html: str) -> dict[str, str]:
    """What can be ticked or chosen: what it says -> its id."""
    ticks = re.findall(r'<fieldset class="(\w)">(.*?)</fieldset>', html, re.DOTALL)
    boxes = {
        f"{letter} {said}": key
        for letter, inside in ticks
        for key, said in re.findall(r'id="(\w+)" /><span>(.*?)</span>', inside)
    }
    return boxes | {said: key for key, said in re.findall(r'<option id="(\w+)"[^>]*>(.*?)</option>', html)}


def shown(html: str, *ticked: str) -> str:
    """The first letters of the cards that no rule of the page's style hides while these boxes are ticked."""
    keys = {options(html)[each] for each in ticked}
    hidden = {
        name
        for group, key, name in re.findall(
            r"form:has\(\.(\w) :checked\):not\(:has\(#(\w+):checked\)\) ~ main \.(\w+) \{ display: none; \}", html
        )
        if key not in keys and any(each.startswith(group) for each in keys)
    }
    return "".join(sorted(name[0] for name, card in cards(Page(html)) if not hidden & set(card["class"].split())))


def sorted_by(html: str, order: str) -> str:
    """The first letters of the cards as the page's style puts them while this is chosen."""
    key = options(html)[order]
    number = re.findall(rf"form:has\(#{key}:checked\) ~ main article \{{ order: var\((--\w+)\); \}}", html)
    places = {name[0]: int(card["style"].split(f"{number[0]}:")[1].split(";")[0]) for name, card in cards(Page(html))}
    assert sorted(places.values()) == list(range(len(places)))
    return "".join(sorted(places, key=places.__getitem__))


@pytest.mark.parametrize(
    ("order", "letters"),
    [
        ("most confidently wrong first", "cbdaef"),  # p of the label 0.05, 0.2, 0.6, 0.9, then those without one
        ("least certain first", "edbacf"),
        ("most certain first", "cabdef"),
        ("file name", "abcdef"),
        ("saliency: most outside the person", "ebcfad"),
        ("Grad-CAM: best insertion", "cfadbe"),  # gains 0.4, 0.2, 0.1, 0, -0.2, none
        ("Grad-CAM: worst insertion", "bdafce"),
        ("Grad-CAM: best deletion", "cadfbe"),  # gains 0.4, 0.1, 0.05, 0, -0.1, none
        ("Grad-CAM: worst deletion", "bfdace"),
    ],
)
def test_each_order_puts_the_cards_where_a_person_would(html: str, order: str, letters: str) -> None:
    assert sorted_by(html, order) == letters


def test_the_page_opens_in_its_first_order_and_offers_only_those_that_have_numbers(html: str) -> None:
    assert "".join(name[0] for name, _ in cards(Page(html))) == "cbdaef"
    assert re.findall(r'<option id="s0" selected>(.*?)<', html) == ["most confidently wrong first"]
    assert html.count(" selected>") == 1
    assert "saliency: best insertion" not in options(html)
    assert "Grad-CAM: most outside the person" not in options(html)


@pytest.mark.parametrize(
    ("ticked", "letters"),
    [
        ([], "abcdef"),
        (["r wrong"], "bc"),
        (["r right"], "adf"),
        (["r no label"], "e"),
        (["r right", "r wrong"], "abcdf"),
        (["l MALE"], "bdf"),
        (["l unknown"], "e"),
        (["a FEMALE"], "abe"),
        (["c gate"], "acf"),
        (["c gate", "c not known"], "acdf"),
        (["c yard", "r wrong"], "b"),
        (["c gate", "l FEMALE", "a MALE"], "c"),
        (["c yard", "r right"], ""),
    ],
)
def test_boxes_of_one_group_add_up_and_groups_narrow_each_other(html: str, ticked: list[str], letters: str) -> None:
    assert shown(html, *ticked) == letters


def test_each_box_says_how_many_images_it_stands_for(html: str) -> None:
    assert texts_of(html, "label") == [
        "Sort by",
        *("right 3", "wrong 2", "no label 1"),
        *("FEMALE 2", "MALE 3", "unknown 1"),
        *("FEMALE 3", "MALE 3"),
        *("gate 3", "not known 1", "yard 2"),
    ]
    assert "not known" not in html_of(table(camera="gate")), "a group with one value is not offered"


def test_a_card_says_what_was_answered_with_a_sign_and_a_word(html: str) -> None:
    said = [each for each in texts_of(html, "article") if each]
    assert said[0].startswith("✗ wrong MALE 95 % label FEMALE input saliency Grad-CAM insertion ")
    assert said[2].startswith("✓ right MALE 60 % label MALE ")
    assert said[4].startswith("? no label FEMALE 55 % input ")
    assert said[5].startswith("✓ right MALE label MALE "), "a network that answers NaN has no probability"
    assert said[0].endswith(" c.png gate · C")
    assert said[2].endswith(" d.png D"), "the camera of d.png is not known"


def test_scores_stand_below_the_maps_and_missing_ones_are_dashes(html: str) -> None:
    rows = texts_of(html.split("<article")[1], "tr")
    assert rows[:2] == ["input saliency Grad-CAM", ""], "the second is the strip"
    assert rows[2:6] == ["insertion – 0.90", "deletion – 0.10", "random – 0.50", "outside the person 30 % –"]
    assert rows[6] == "saliency Grad-CAM"
    agreements = ["agreement with saliency – −0.25", "agreement with Grad-CAM −0.25 –"]
    assert rows[7:] == ["outside the person, uniform map – 30 % –", *agreements]


def test_scores_that_nobody_asked_for_take_no_room_and_are_not_explained() -> None:
    rows = table(**dict.fromkeys(SCORE_COLUMNS, NAN))
    html = html_of(rows.drop(columns=["agreement_saliency", "agreement_grad_cam"]))
    assert len(texts_of(html, "tr")) == 2 * 6
    assert Page(html).all("details") == []
    assert "Insertion" not in html.split("</header>")[0]
    assert len(re.findall("<option ", html)) == 4


def test_the_second_strip_shows_the_label_where_the_answer_is_wrong() -> None:
    both = pd.concat([table(role="true"), table()], ignore_index=True)
    page = page_of(both)
    sources = [image["src"] for image in page.all("img")]
    strips = ["c_predicted", "c_true", "b_predicted", "b_true", *(f"{letter}_predicted" for letter in "daef")]
    assert sources == [f"explanations/pictures/{strip}.webp" for strip in strips]
    for words in ("for MALE, the answer (95 %)", "for FEMALE, the label (5.0 %)"):
        assert words in page.text
    assert "and, where that is wrong, for the label's class" in page.text


def test_images_sort_by_the_role_that_is_shown_first() -> None:
    second = table(role="true").assign(insertion_blurred=0.0)
    assert sorted_by(html_of(pd.concat([second, table()])), "Grad-CAM: best insertion") == "cfadbe"


def test_the_header_says_how_many_images_and_how_many_are_right() -> None:
    said = page_of(table()).text
    assert "images 6 of 20 people 6 answered right 60 % 3 of these 5 with a label" in said
    assert "all there are" in page_of(table(), 6).text
    assert "images 6 people" in page_of(table(), None).text
    assert "for the label's class, also where" in page_of(table(role="true")).text


def test_the_legend_tells_methods_with_a_sign_from_those_without(html: str) -> None:
    signed, unsigned = texts_of(html, "li")
    assert signed.startswith("Grad-CAM against for Yellow")
    assert unsigned.startswith("saliency little much Orange")
    assert texts_of(html_of(table().query("method == 'saliency'")), "li") == [unsigned]


def test_images_without_labels_are_neither_right_nor_wrong() -> None:
    html = html_of(table(label=""))
    assert "– no image has a label" in Page(html).text
    assert "wrong" not in texts_of(html, "main")[0]
    assert "most confidently wrong first" not in options(html)
    assert sorted_by(html, "least certain first") == "edbacf"
    assert "".join(name[0] for name, _ in cards(Page(html))) == "edbacf"


def test_a_table_that_was_read_back_from_its_file_gives_the_same_page(html: str, tmp_path: Path) -> None:
    table().to_csv(tmp_path / "explanations.csv", index=False)
    assert html_of(pd.read_csv(tmp_path / "explanations.csv")) == html


def test_nothing_was_explained() -> None:
    page = page_of(table().head(0), 0)
    assert "No image was explained." in page.text
    assert page.all("form") == []
    assert page_of(pd.DataFrame(), None).all("article") == []


def test_names_are_text_wherever_they_stand() -> None:
    evil = table().assign(picture=f"explanations/{EVIL}#?.webp", path=lambda rows: rows["path"] + EVIL)
    evil.loc[:3, ["label", "identity", "camera", "prediction", "explained"]] = EVIL
    html = render_gallery(evil, **{**ABOUT, "title": EVIL, "folder": EVIL}, chosen_from=6)
    page = Page(html)
    assert_runs_and_fetches_nothing(page, "explanations/")
    assert EVIL not in page.style
    assert {image["src"] for image in page.all("img")} == {
        "explanations/%22%27%20onload%3Dalert%281%29%20%3E%3Cscript%3Ealert%281%29%3C/script%3E%23%3F.webp"
    }
    assert EVIL in [box["title"] for box in page.all("label") if "title" in box]
    assert all(re.fullmatch(r"[rlac]\d+( [rlac]\d+)*", card["class"]) for _, card in cards(page))


def test_the_page_runs_nothing_and_asks_only_for_its_own_pictures(html: str) -> None:
    page = Page(html)
    assert_runs_and_fetches_nothing(page, "explanations/pictures/")
    assert page.policy == "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; form-action 'none'"
    assert {link["href"] for link in page.all("a")} == {"#controls", "explanations.csv"}
    assert {(image["loading"], image["decoding"]) for image in page.all("img")} == {("lazy", "async")}


def test_the_other_pages_keep_their_policy() -> None:
    plain = page_environment().get_template("page.html.jinja").render()
    assert Page(plain).policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert plain.split("<style>")[1].split("</style>")[0].strip().endswith("}")


def test_room_is_kept_for_pictures_that_have_not_come_yet() -> None:
    square, usual = html_of(table(), size=(224, 224)), html_of(table())
    assert 'class="cards" style="--aspect:3.0;--narrowest:528px"' in square
    assert 'class="cards" style="--aspect:1.5;--narrowest:264px"' in usual
    assert 'style="--aspect:1.0;--narrowest:240px"' in html_of(table().query("method == 'saliency'"))


def test_a_picture_that_was_not_written_leaves_a_word() -> None:
    page = page_of(table(picture=np.nan))
    assert page.all("img") == []
    assert page.text.count("no picture") == 6


def test_every_control_has_a_name_and_an_old_browser_is_told_why_it_has_none(html: str) -> None:
    page = Page(html)
    assert html.count("<fieldset") == html.count("<legend>") == 5
    assert {label.get("for") for label in page.all("label")} == {"sort", None}
    assert all(image["alt"] for image in page.all("img"))
    assert "@supports not selector(:has(a))" in page.style
    assert "all images are shown, most confidently wrong first." in page.text
