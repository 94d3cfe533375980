"""What the scores of explanations say, in sentences: one wording for report, model card and terminal."""

from collections.abc import Sequence
from typing import Literal

from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.schema import BANDS, GAMES, Explanations, MethodScores
from gender_cls.evaluation.wording import capitalised, decimal, listed, percent, stated, stated_percent

GONE = {"blurred": "blurred", "mean": "mean colour"}
"""What deleted pixels become -> how a row of a table says it."""

MOST_INTERVALS = 2
"""With more methods than these in a sentence, their numbers stand without intervals; tables have them all."""

Sentence = tuple[Literal["fine", "warn"], str]
"""How it is to be read, and what it says."""


def explanation_sentences(explanations: Explanations) -> list[Sentence]:
    """At most three, each on all methods: faithfulness, where the mass lies, and what random weights change.

    A method is called better than chance only where the intervals of both gains lie above 0 with every baseline.
    """
    methods = explanations["methods"]
    found = (_faithfulness(methods), _mass(methods), _random_weights(methods))
    return [sentence for sentence in found if sentence is not None]


def _faithfulness(methods: Sequence[MethodScores]) -> Sentence | None:
    played = [method for method in methods if _gains(method)]
    better = [method for method in played if all(map(_above_0, _gains(method).values()))]
    sentences = [_better_than_chance(better)] if better else []
    sentences += [_falling_short(method) for method in played if method not in better]
    return ("fine" if better == played else "warn", " ".join(sentences)) if played else None


def _better_than_chance(methods: Sequence[MethodScores]) -> str:
    """With the areas under the curves of the first baseline that was played."""
    games = [next(game for game in method["games"] if game["random"]["value"] is not None) for method in methods]
    brief = len(games) > MOST_INTERVALS
    deletion = listed([_area(game["deletion"], brief) for game in games])
    insertion = listed([_area(game["insertion"], brief) for game in games])
    return (
        f"{_titles(methods)}: taking away first what the map marks lowers the probability faster than taking away at "
        f"random ({deletion} against {stated(games[0]['random'], 2)}), and putting it back first raises it sooner "
        f"({insertion}): the map marks what the model uses."
    )


def _area(estimate: Estimate, brief: bool) -> str:
    return f"{estimate['value']:.2f}" if brief and estimate["value"] is not None else stated(estimate, 2)


def _falling_short(method: MethodScores) -> str:
    gains = _gains(method)
    short = [title for title, gain in gains.items() if not _above_0(gain)]
    if len(short) == len(gains):
        return (
            f"{capitalised(method['title'])} is not shown to beat an order by chance: nothing says that it marks what "
            "the model uses."
        )
    return f"{capitalised(method['title'])} is not shown to beat an order by chance in {listed(short)}."


def _gains(method: MethodScores) -> dict[str, Estimate]:
    """Title of the game -> gain, of those that were played."""
    every = {
        f"{name} ({GONE[game['baseline']]})": gain
        for game in method["games"]
        for name, gain in zip(GAMES, (game["deletion_gain"], game["insertion_gain"]), strict=True)
    }
    return {title: gain for title, gain in every.items() if gain["value"] is not None}


def _above_0(gain: Estimate) -> bool:
    return gain["low"] is not None and gain["low"] > 0


def _mass(methods: Sequence[MethodScores]) -> Sentence | None:
    sentences: list[str] = []
    more = False
    for method in methods:
        places = {place["name"]: place for place in method["places"]}
        bands, border = [places[name] for name in BANDS], places["border"]
        if border["area"] is None:
            continue
        more |= border["share"]["low"] is not None and border["share"]["low"] > border["area"]
        on_body = _percents([band["share"]["value"] for band in bands])
        outside = stated_percent(border["share"], 0)
        compared = _against_even(border["share"], border["area"])
        if sentences:
            sentences.append(f"{capitalised(method['title'])}: {on_body}, and {outside}{compared}.")
        else:
            even = _percents([band["area"] for band in bands])
            sentences.append(
                f"{capitalised(method['title'])} has {on_body} of its mass on head, upper and lower body (an even map "
                f"{even}), and {outside} outside the person's box{compared}."
            )
    return ("warn" if more else "fine", " ".join(sentences)) if sentences else None


def _percents(shares: Sequence[float | None]) -> str:
    """`27, 47 and 26 %`."""
    return listed(["–" if share is None else f"{100 * share:.0f}" for share in shares]) + "\u202f%"


def _against_even(share: Estimate, area: float) -> str:
    """Beside the share of a map that is the same everywhere."""
    even = f"the {percent(area)} of an even map"
    if share["low"] is None or share["high"] is None:
        return f", against {even}"
    return (
        f", more than {even}" if share["low"] > area else f", {'less than' if share['high'] < area else 'about'} {even}"
    )


def _random_weights(methods: Sequence[MethodScores]) -> Sentence | None:
    left = {
        method["title"]: (value, check["flagged"])
        for method in methods
        if (check := method["randomisation"]) and (value := check["stages"][-1]["similarity"]["value"]) is not None
    }
    if not left:
        return None
    flagged = {title: value for title, (value, same) in left.items() if same}
    if flagged:
        return "warn", (
            f"With all weights random, maps of {listed(list(flagged))} hardly change (rank correlation "
            f"{listed([decimal(value, 2) for value in flagged.values()])}): they show the picture, not the model."
        )
    return "fine", (
        f"With all weights random, maps of {listed(list(left))} change (rank correlation "
        f"{listed([decimal(value, 2) for value, _ in left.values()])}): they depend on what the model has learnt."
    )


def _titles(methods: Sequence[MethodScores]) -> str:
    return capitalised(listed([method["title"] for method in methods]))
