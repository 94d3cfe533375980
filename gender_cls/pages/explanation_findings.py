"""What the scores of explanation maps mean, in sentences."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gender_cls.evaluation.estimate import Estimate, is_above_0
from gender_cls.evaluation.explanation_schema import BANDS, GAMES, Explanations, MethodScores, Randomisation
from gender_cls.evaluation.wording import (
    MISSING,
    PERCENT,
    Finding,
    capitalised,
    decimal,
    listed,
    percent,
    stated,
    stated_percent,
)

BASELINE_TITLES = {"blurred": "blurred", "mean": "mean colour"}  # what replaces deleted pixels -> its name in a table


def explanation_findings(explanations: Explanations) -> Iterator[Finding]:
    """At most four, each about all methods: faithfulness, the known cue, where the mass lies, and random weights."""
    for about in (_faithfulness, _cue, _where_the_mass_lies, _random_weights):
        yield from about(explanations["methods"])


def _faithfulness(methods: Sequence[MethodScores]) -> Iterator[Finding]:
    """A method is better than chance only if the intervals of both gains are above 0 with every baseline."""
    scored = [method for method in methods if _gains(method)]
    better = [method for method in scored if all(map(is_above_0, _gains(method).values()))]
    sentences = [_better_than_chance(better)] if better else []
    unlearnt = [method for method in better if method["randomisation"] and method["randomisation"]["flagged"]]
    sentences += [_more_like_the_image(unlearnt)] if unlearnt else []
    sentences += [_not_better(method) for method in scored if method not in better]
    if sentences:
        yield Finding("fine" if better == scored else "warn", " ".join(sentences))


def _gains(method: MethodScores) -> dict[str, Estimate]:
    """The gains that are known, by the title of their game."""
    gains = {
        f"{name} ({BASELINE_TITLES[game['baseline']]})": gain
        for game in method["games"]
        for name, gain in zip(GAMES, (game["deletion_gain"], game["insertion_gain"]), strict=True)
    }
    return {title: gain for title, gain in gains.items() if gain["value"] is not None}


def _better_than_chance(methods: Sequence[MethodScores]) -> str:
    """With the gains of the first baseline that has scores."""
    games = [next(game for game in method["games"] if game["random"]["value"] is not None) for method in methods]
    titles = capitalised(listed(method["title"] for method in methods))
    deletion = listed(stated(game["deletion_gain"], 2) for game in games)
    insertion = listed(stated(game["insertion_gain"], 2) for game in games)
    return (
        f"{titles}: removing first what the map marks lowers the probability faster than a random order (deletion gain "
        f"{deletion}), and bringing it back first raises it sooner (insertion gain {insertion}): the map marks what "
        "the model uses."
    )


def _more_like_the_image(methods: Sequence[MethodScores]) -> str:
    """How a map can mark what is used and still hardly depend on what was learnt."""
    titles = listed(method["title"] for method in methods)
    return (
        f"Maps of networks with random weights are much like those of {titles}, so the striking parts of the image may "
        "be enough for this gain."
    )


def _not_better(method: MethodScores) -> str:
    gains = _gains(method)
    weak = [title for title, gain in gains.items() if not is_above_0(gain)]
    sentence = f"{capitalised(method['title'])} is not shown to beat a random order"
    if len(weak) == len(gains):
        return f"{sentence}: nothing shows that it marks what the model uses."
    return f"{sentence} in {listed(weak)}."


def _where_the_mass_lies(methods: Sequence[MethodScores]) -> Iterator[Finding]:
    sentences: list[str] = []
    more = False
    for method in methods:
        places = {place["name"]: place for place in method["places"]}
        bands, share, area = [places[name] for name in BANDS], places["outside"]["share"], places["outside"]["area"]
        if area is None:
            continue
        body, box, of_uniform = "", "", ""
        if not sentences:  # the first sentence also says what its numbers are
            uniform = _percents(band["area"] for band in bands)
            body = f" of its mass on head, upper and lower body (a uniform map: {uniform})"
            box, of_uniform = " the person's box", " of a uniform map"
        comparison = _comparison(share, area)
        more |= comparison == "more than"
        sentences.append(
            f"{capitalised(method['title'])} has {_percents(band['share']['value'] for band in bands)}{body}, and "
            f"{stated_percent(share, 0)} outside{box}, {comparison} the {percent(area)}{of_uniform}."
        )
    if sentences:
        yield Finding("warn" if more else "fine", " ".join(sentences))


def _percents(shares: Iterable[float | None]) -> str:
    """`27, 47 and 26 %`."""
    return listed(MISSING if share is None else f"{100 * share:.0f}" for share in shares) + PERCENT


def _comparison(share: Estimate, area: float) -> str:
    if share["low"] is None or share["high"] is None:
        return "against"
    return "more than" if share["low"] > area else "less than" if share["high"] < area else "about"


def _cue(methods: Sequence[MethodScores]) -> Iterator[Finding]:
    """A map finds the cue of a label if the whole interval of its hits is above chance: the share of the area."""
    found = {method["title"]: method["cue"] for method in methods if method["cue"]}
    if not found:
        return
    hits = {
        title: listed(f"{stated_percent(one['hit'], 0)} of {label} images" for label, one in cue.items())
        for title, cue in found.items()
    }
    areas = [one["area"] for cue in found.values() for one in cue.values()]
    by_chance = [
        f"{title} of {label}"
        for title, cue in found.items()
        for label, one in cue.items()
        if one["hit"]["low"] is None or one["hit"]["low"] <= one["area"]
    ]
    sentence = (
        f"The highest point of the map lies on the known cue, which covers {percent(sum(areas) / len(areas))} of the "
        f"image, in {listed(f'{share} ({title})' for title, share in hits.items())}."
    )
    if by_chance:
        sentence += f" That is not clearly more than by chance for {listed(by_chance)}."
    yield Finding("warn" if by_chance else "fine", sentence)


def _random_weights(methods: Sequence[MethodScores]) -> Iterator[Finding]:
    """On the methods whose maps hardly change; if there are none, on all that were checked.

    A map that changes, but no more than maps of random networks differ from each other, is worth a note: it depends on
    the weights, and whether on what they have learnt stays open.
    """
    checks = {
        method["title"]: check
        for method in methods
        if (check := method["randomisation"]) and check["stages"][-1]["similarity"]["value"] is not None
    }
    flagged = {title: check for title, check in checks.items() if check["flagged"]}
    learnt = {title: check for title, check in checks.items() if is_above_0(check["difference"])}
    others = {title: check for title, check in checks.items() if title not in learnt}
    if flagged:
        left, control = _similarities(flagged)
        yield Finding(
            "warn",
            f"Maps of {listed(flagged)} show the image rather than what the model has learnt: they are as much like "
            f"maps of networks with random weights (rank correlation {left}) as these are like each other ({control}).",
        )
        return
    sentences = []
    if learnt:
        left, control = _similarities(learnt)
        sentences.append(
            f"Maps of {listed(learnt)} show what the model has learnt: they are less like the maps of networks with "
            f"random weights (rank correlation {left}) than these are like each other ({control})."
        )
    if others:
        left, control = _similarities(others)
        sentences.append(
            f"Maps of {listed(others)} change with the weights: their rank correlation with maps of networks with "
            f"random weights is {left}. But it is not clearly below that of these networks with each other ({control})."
        )
    if sentences:
        yield Finding("note" if others else "fine", " ".join(sentences))


def _similarities(checks: Mapping[str, Randomisation]) -> tuple[str, str]:
    """With the trained network, and of random networks with each other."""
    left = listed(decimal(check["stages"][-1]["similarity"]["value"], 2) for check in checks.values())
    return left, listed(decimal(check["control"]["value"], 2) for check in checks.values())
