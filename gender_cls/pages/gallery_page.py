"""Every explained image on one page, `gallery.html`, to sort and to filter. It runs nothing: CSS does both.

A filter is a rule that hides a class of cards, a sort order a number that each card carries for every order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast
from urllib.parse import quote

import numpy as np
import pandas as pd

from gender_cls.config.data import CLASSES
from gender_cls.config.explain import Method
from gender_cls.drawing.map_colours import coloured
from gender_cls.evaluation.schema import GAMES, PLACES
from gender_cls.evaluation.wording import decimal, percent, words
from gender_cls.pages.page import page_environment

TEXTS = ("path", "label", "identity", "camera", "prediction", "method", "role", "explained", "picture")
SHOWN_HEIGHT, NARROWEST_CARD = 176, 240  # pixels: of a strip where nothing widens it, and of a card

Row = dict[str, Any]
"""Of explanations.csv: TEXTS as text, "" where nothing is known; numbers as floats."""

Score = tuple[str, list[str]]
"""Its name and, for each method, its value as a text: "–" where it is not defined."""


@dataclass(frozen=True)
class Strip:
    """The maps of one image for one class: `source` is the picture's address, "" where there is none."""

    explained: str
    role: str
    probability: float
    source: str
    scores: list[Score]
    more: list[Score]


@dataclass(frozen=True)
class Card:
    """An image. `label` is "" where it is not known."""

    path: str
    label: str
    answer: str
    certainty: float
    camera: str
    person: str
    strips: list[Strip]
    first: dict[str, Row]
    """By method, the row of the role that is shown first: what the image is sorted by."""

    @property
    def name(self) -> str:
        """Of the file."""
        return PurePosixPath(self.path).name

    @property
    def outcome(self) -> str:
        """Right, wrong or no label."""
        return "no label" if not self.label else "right" if self.answer == self.label else "wrong"


@dataclass(frozen=True)
class Option:
    """One value to filter by; `key` is its class in the page, made here because names may hold anything."""

    key: str
    title: str
    images: int


@dataclass(frozen=True)
class Facet:
    """What can be filtered by, and the key of each card, in the order of the cards."""

    title: str
    options: list[Option]
    keys: list[str]


@dataclass(frozen=True)
class Order:
    """A way to sort: the place of each card, from 0, in the order of the cards."""

    title: str
    places: list[int]


def render_gallery(
    table: pd.DataFrame,
    title: str,
    folder: str,
    created: str,
    whole: int | None,
    image_size: Sequence[int] = (256, 128),
) -> str:
    """The page, as HTML, for the folder that `picture` counts from.

    Args:
        table: explanations.csv, a row an image, role and method.
        title: the name of the run.
        folder: the run's folder, as a command would name it.
        created: an ISO 8601 date and time.
        whole: how many images these were drawn from; None where somebody named them.
        image_size: (height, width) of the network's input, so that the page keeps the right room for the pictures.
    """
    rows = _records(table)
    methods = [Method(name) for name in dict.fromkeys(row["method"] for row in rows)]
    cards = _cards(rows, methods)
    known = [card for card in cards if card.label]
    orders = _orders(cards, methods)
    aspect = (1 + len(methods)) * image_size[1] / image_size[0]  # of a strip: the input and its maps side by side
    page = page_environment().get_template("gallery.html.jinja")
    return page.render(
        title=title,
        folder=folder,
        created=created,
        whole=whole,
        cards=cards,
        first_order=sorted(range(len(cards)), key=orders[0].places.__getitem__) if cards else [],
        people=len({card.person for card in cards} - {""}),
        known=len(known),
        right=sum(card.outcome == "right" for card in known),
        roles={row["role"] for row in rows},
        methods=[method.title for method in methods],
        legend=[
            (signed, [method.title for method in methods if method.signed is signed], _ramp(signed))
            for signed in sorted({method.signed for method in methods}, reverse=True)
        ],
        scored={name for card in cards for name, _ in card.strips[0].scores},
        facets=_facets(cards),
        orders=orders,
        aspect=round(aspect, 4),
        narrowest=max(NARROWEST_CARD, round(SHOWN_HEIGHT * aspect)),
    )


def _records(table: pd.DataFrame) -> list[Row]:
    texts = [name for name in TEXTS if name in table]
    table = table.assign(
        **{name: table[name].astype(object).where(table[name].notna(), "").astype(str) for name in texts}
    )
    return cast(list[Row], table.to_dict("records"))


def _cards(rows: Sequence[Row], methods: Sequence[Method]) -> list[Card]:
    """In the order of the file names, then of the paths."""
    images: dict[str, dict[str, dict[str, Row]]] = {}
    for row in rows:
        images.setdefault(row["path"], {}).setdefault(row["role"], {})[row["method"]] = row
    scores = _main_scores(rows)
    cards = []
    for path, by_role in images.items():
        roles = dict(sorted(by_role.items()))  # predicted, true
        first = next(iter(roles.values()))
        row = next(iter(first.values()))
        label = row["label"] if row["label"] in CLASSES else ""
        # The label's maps say nothing new where the answer is right.
        shown = [
            by_method for by_method in roles.values() if by_method is first or label not in ("", row["prediction"])
        ]
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
    row = next(iter(by_method.values()))
    every = [by_method.get(method.value, {}) for method in methods]
    picture = next((each["picture"] for each in by_method.values() if each["picture"]), "")
    more: list[Score] = []
    for game in (*GAMES[::-1], "random"):
        more.append((f"{game}, mean colour", [_text(each, f"{game}_mean") for each in every]))
    for place in PLACES:
        even = _text(row, f"{place}_area")
        more.append((f"{words(place)}, even map {even}", [_text(each, place) for each in every]))
    for method in methods if len(methods) > 1 else ():
        more.append((f"like {method.title}", [_text(each, f"agreement_{method.value}") for each in every]))
    return Strip(
        explained=row["explained"],
        role=row["role"],
        probability=_number(row, "probability"),
        source=quote(picture),
        scores=[(name, [_text(each, column) for each in every]) for column, name in scores.items()],
        more=[(name, values) for name, values in more if set(values) != {"–"}],
    )


def _main_scores(rows: Sequence[Row]) -> dict[str, str]:
    """What stands below a strip, as far as it was asked for: column -> its name on the page."""
    columns = {f"{game}_blurred": game for game in (*GAMES[::-1], "random")} | {"border": "border"}
    return {column: name for column, name in columns.items() if any(_text(row, column) != "–" for row in rows)}


def _facets(cards: Sequence[Card]) -> list[Facet]:
    """Those with a choice, the values in a fixed order."""
    values: dict[str, list[str]] = {
        "Right or wrong": [card.outcome for card in cards],
        "Label": [card.label or "unknown" for card in cards],
        "Answer": [card.answer or "none" for card in cards],
        "Camera": [card.camera or "not known" for card in cards],
    }
    first = ("right", "wrong", *CLASSES)
    facets = []
    for letter, (title, of_cards) in zip("rlac", values.items(), strict=True):
        names = sorted(set(of_cards), key=lambda name: (first.index(name) if name in first else len(first), name))
        keys = {name: f"{letter}{index}" for index, name in enumerate(names)}
        if len(names) > 1:
            options = [Option(keys[name], name, of_cards.count(name)) for name in names]
            facets.append(Facet(title, options, [keys[name] for name in of_cards]))
    return facets


def _orders(cards: Sequence[Card], methods: Sequence[Method]) -> list[Order]:
    """What a person may sort by: the first is how the page opens. Left out are those that no card has a number for.

    Args:
        cards: by file name; so stay those that are equal.
        methods: of the maps.
    """
    certainty = [card.certainty for card in cards]
    of_label = [_probability(next(iter(card.first.values())), card.label) for card in cards]
    keys: dict[str, list[float]] = {
        "most confidently wrong first": of_label,
        "least certain first": certainty,
        "most certain first": [-value for value in certainty],
        "file name": [0.0] * len(cards),
    }
    for method in methods:
        rows = [card.first.get(method.value, {}) for card in cards]
        insertion = [_number(row, "insertion_blurred") - _number(row, "random_blurred") for row in rows]
        deletion = [_number(row, "random_blurred") - _number(row, "deletion_blurred") for row in rows]
        keys |= {
            f"{method.title}: most in the border": [-_number(row, "border") for row in rows],
            f"{method.title}: best insertion": [-value for value in insertion],
            f"{method.title}: worst insertion": insertion,
            f"{method.title}: best deletion": [-value for value in deletion],
            f"{method.title}: worst deletion": deletion,
        }
    return [
        Order(title, _places(numbers))
        for title, numbers in keys.items()
        if not all(math.isnan(each) for each in numbers)
    ]


def _places(numbers: Sequence[float]) -> list[int]:
    """The place of each number, smallest first; equal ones stay in order, undefined ones come last."""
    places = [0] * len(numbers)
    ordered = sorted(range(len(numbers)), key=lambda index: (math.isnan(numbers[index]), numbers[index]))
    for place, index in enumerate(ordered):
        places[index] = place
    return places


def _probability(row: Row, name: str) -> float:
    """Of a class; NaN where it is none."""
    female = _number(row, "p_FEMALE")
    return female if name == CLASSES[0] else 1 - female if name == CLASSES[1] else math.nan


def _ramp(signed: bool) -> str:
    """The colours of a map from its lowest to its highest, as a gradient of CSS."""
    values = np.linspace(-1 if signed else 0, 1, 11)[np.newaxis, np.newaxis]
    colours = coloured(values, np.full((*values.shape, 3), 128, np.uint8), signed)[0, 0]
    return f"linear-gradient(to right, {', '.join('rgb({} {} {})'.format(*colour) for colour in colours)})"


def _number(row: Row, key: str) -> float:
    """NaN where it is not defined."""
    value = float(row.get(key, math.nan))
    return value if math.isfinite(value) else math.nan


def _text(row: Row, column: str) -> str:
    number = _number(row, column)
    if math.isnan(number):
        return "–"
    return percent(number) if column.removesuffix("_area") in PLACES else decimal(number, 2)
