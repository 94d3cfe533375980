"""All explained images on one page, `gallery.html`, to sort and to filter; CSS does both, so the page needs no script.

To filter, a rule hides a class of cards. To sort, each card has one number for each order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast
from urllib.parse import quote

import pandas as pd

from gender_cls.config.data import CLASSES
from gender_cls.config.explain import Method
from gender_cls.drawing.map_colours import ramp
from gender_cls.evaluation.explanation_schema import GAMES, PLACES
from gender_cls.evaluation.wording import MISSING, decimal, percent, place_title
from gender_cls.pages.page import page_environment

TEXTS = ("path", "label", "identity", "camera", "prediction", "method", "role", "explained", "picture")
SHOWN_HEIGHT, NARROWEST_CARD = 176, 240  # in pixels: the usual height of a strip, and the smallest width of a card

Row = dict[str, Any]  # of explanations.csv: TEXTS as text, "" where nothing is known; numbers as floats
ScoreRows = list[tuple[str, list[str]]]  # the name of each score, and its value for each method, a dash if not defined
Order = tuple[str, list[int]]  # a way to sort: its name, and the place of each card, from 0


@dataclass(frozen=True)
class Strip:
    """The maps of one image for one class."""

    explained: str
    role: str
    probability: float
    source: str  # the picture's address, "" where there is no picture
    scores: ScoreRows
    more: ScoreRows  # shown on request


@dataclass(frozen=True)
class Card:
    """An image with its strips."""

    path: str
    label: str  # "" where it is not known
    answer: str
    certainty: float
    camera: str
    person: str
    strips: list[Strip]
    first: dict[str, Row]  # by method, the row of the role that is shown first; images are sorted by it

    @property
    def name(self) -> str:
        """The name of the file."""
        return PurePosixPath(self.path).name

    @property
    def outcome(self) -> str:
        """`right`, `wrong` or `no label`."""
        return "no label" if not self.label else "right" if self.answer == self.label else "wrong"


@dataclass(frozen=True)
class Facet:
    """Something to filter by."""

    title: str
    options: list[tuple[str, str, int]]  # CSS class (a title may hold any characters), title, images
    keys: list[str]  # the CSS class of each card


def render_gallery(
    table: pd.DataFrame,
    *,
    title: str,
    folder: str,
    created: str,
    chosen_from: int | None,
    image_size: Sequence[int] = (256, 128),
    links: Sequence[tuple[str, str]] = (),
) -> str:
    """The page, as HTML, to be saved in the folder that the paths of the column `picture` are relative to.

    Args:
        table: explanations.csv, one row per image, role and method.
        title: the name of the run.
        folder: the run's folder, as given to a command.
        created: an ISO 8601 date and time.
        chosen_from: how many images these were chosen from; None if the user named the images.
        image_size: (height, width) of the network's input, so that the page keeps the right space for the pictures.
        links: names and addresses of the run's other pages.
    """
    known = [name for name in TEXTS if name in table]
    texts = {name: table[name].astype(object).where(table[name].notna(), "").astype(str) for name in known}
    rows = cast(list[Row], table.assign(**texts).to_dict("records"))
    methods = [Method(name) for name in dict.fromkeys(row["method"] for row in rows)]
    cards = _cards(rows, methods)
    orders = _orders(cards, methods)
    aspect = (1 + len(methods)) * image_size[1] / image_size[0]  # of a strip: the input and its maps side by side
    template = page_environment().get_template("gallery.html.jinja")
    return template.render(
        title=title,
        folder=folder,
        created=created,
        links=links,
        chosen_from=chosen_from,
        cards=cards,
        first_order=sorted(range(len(cards)), key=orders[0][1].__getitem__) if cards else [],
        people=len({card.person for card in cards} - {""}),
        known=sum(card.label != "" for card in cards),
        right=sum(card.outcome == "right" for card in cards),
        roles={row["role"] for row in rows},
        methods=[method.title for method in methods],
        legend=[
            (signed, [method.title for method in methods if method.signed is signed], _gradient(signed))
            for signed in sorted({method.signed for method in methods}, reverse=True)
        ],
        scored={name for card in cards for name, _ in card.strips[0].scores},
        facets=_facets(cards),
        orders=orders,
        aspect=round(aspect, 4),
        narrowest=max(NARROWEST_CARD, round(SHOWN_HEIGHT * aspect)),
    )


def _cards(rows: Sequence[Row], methods: Sequence[Method]) -> list[Card]:
    """The cards, in the order of the file names, then of the paths."""
    images: dict[str, dict[str, dict[str, Row]]] = {}
    for row in rows:
        images.setdefault(row["path"], {}).setdefault(row["role"], {})[row["method"]] = row
    scores = {f"{game}_blurred": game for game in (*GAMES[::-1], "random")} | {"outside": place_title("outside")}
    scores = {column: name for column, name in scores.items() if any(_cell(row, column) != MISSING for row in rows)}
    cards = []
    for path, by_role in images.items():
        first, *others = (by_role[role] for role in sorted(by_role))  # predicted, true
        row = next(iter(first.values()))
        label = row["label"] if row["label"] in CLASSES else ""
        # If the answer is right, the maps for the label are the same.
        shown = [first] if label in ("", row["prediction"]) else [first, *others]
        cards.append(
            Card(
                path=path,
                label=label,
                answer=row["prediction"],
                certainty=_probability(row, row["prediction"]),
                camera=row["camera"],
                person=row["identity"],
                strips=[_strip(by_method, methods, scores) for by_method in shown],
                first=first,
            )
        )
    return sorted(cards, key=lambda card: (card.name, card.path))


def _strip(by_method: dict[str, Row], methods: Sequence[Method], scores: dict[str, str]) -> Strip:
    """One strip; `scores` maps columns to the names of the scores that are always shown."""
    row = next(iter(by_method.values()))
    more = {f"{game}_mean": f"{game}, mean colour" for game in (*GAMES[::-1], "random")}
    more |= {"cue_hit": "highest point on the cue", "cue_mass": f"on the cue, uniform map {_cell(row, 'cue_area')}"}
    more |= {place: f"{place_title(place)}, uniform map {_cell(row, f'{place}_area')}" for place in PLACES}
    if len(methods) > 1:
        more |= {f"agreement_{method.value}": f"agreement with {method.title}" for method in methods}

    def values(columns: dict[str, str]) -> ScoreRows:
        every = [by_method.get(method.value, {}) for method in methods]
        return [(name, [_cell(each, column) for each in every]) for column, name in columns.items()]

    return Strip(
        explained=row["explained"],
        role=row["role"],
        probability=_float(row, "probability"),
        source=quote(next((each["picture"] for each in by_method.values() if each["picture"]), "")),
        scores=values(scores),
        more=[(name, texts) for name, texts in values(more) if set(texts) != {MISSING}],
    )


def _facets(cards: Sequence[Card]) -> list[Facet]:
    """The facets with more than one value; the values are in a fixed order."""
    first = ("right", "wrong", *CLASSES)
    facets = []
    for letter, title, of_cards in (
        ("r", "Right or wrong", [card.outcome for card in cards]),
        ("l", "Label", [card.label or "unknown" for card in cards]),
        ("a", "Answer", [card.answer or "none" for card in cards]),
        ("c", "Camera", [card.camera or "not known" for card in cards]),
    ):
        names = sorted(set(of_cards), key=lambda name: (first.index(name) if name in first else len(first), name))
        keys = {name: f"{letter}{index}" for index, name in enumerate(names)}
        if len(names) > 1:
            options = [(keys[name], name, of_cards.count(name)) for name in names]
            facets.append(Facet(title, options, [keys[name] for name in of_cards]))
    return facets


def _orders(cards: Sequence[Card], methods: Sequence[Method]) -> list[Order]:
    """The orders to choose from; the page opens in the first. An order that no card has a number for is left out.

    Cards with equal numbers stay in the order of `cards`.
    """
    certainty = [card.certainty for card in cards]
    numbers: dict[str, list[float]] = {
        "most confidently wrong first": [_probability(next(iter(card.first.values())), card.label) for card in cards],
        "least certain first": certainty,
        "most certain first": [-value for value in certainty],
        "file name": [0.0] * len(cards),
    }
    for method in methods:
        rows = [card.first.get(method.value, {}) for card in cards]
        numbers[f"{method.title}: most {place_title('outside')}"] = [-_float(row, "outside") for row in rows]
        for game, sign in (("insertion", 1), ("deletion", -1)):
            gain = [sign * (_float(row, f"{game}_blurred") - _float(row, "random_blurred")) for row in rows]
            numbers[f"{method.title}: best {game}"] = [-value for value in gain]
            numbers[f"{method.title}: worst {game}"] = gain
    return [(title, _places(values)) for title, values in numbers.items() if not all(map(math.isnan, values))]


def _places(numbers: Sequence[float]) -> list[int]:
    """The place of each number, smallest first; equal numbers keep their order, undefined ones come last."""
    ordered = sorted(range(len(numbers)), key=lambda index: (math.isnan(numbers[index]), numbers[index]))
    return sorted(range(len(numbers)), key=ordered.__getitem__)


def _probability(row: Row, name: str) -> float:
    """The probability of a class; NaN if it is no class."""
    female = _float(row, "p_FEMALE")
    return female if name == CLASSES[0] else 1 - female if name == CLASSES[1] else math.nan


def _gradient(signed: bool) -> str:
    """The colours of a map from its lowest to its highest value, as a gradient in CSS."""
    return f"linear-gradient(to right, {', '.join('rgb({} {} {})'.format(*colour) for colour in ramp(11, signed)[0])})"


def _float(row: Row, key: str) -> float:
    """The number in a cell; NaN where it is not defined."""
    value = float(row.get(key, math.nan))
    return value if math.isfinite(value) else math.nan


def _cell(row: Row, column: str) -> str:
    number = _float(row, column)
    if math.isnan(number):
        return MISSING
    return (
        percent(number) if column.removesuffix("_area") in PLACES or column.startswith("cue_") else decimal(number, 2)
    )
