"""What a comparison comes to, in sentences."""

from collections.abc import Sequence
from pathlib import Path

from gender_cls.errors import first_few
from gender_cls.evaluation.comparison.compare_json import PEOPLE, BestBaseline, CandidateRow, Pair
from gender_cls.evaluation.estimate import Estimate, beats
from gender_cls.evaluation.wording import listed, stated


def pair_sentence(a: str, b: str, difference: Estimate, p_holm: float | None, significant: bool) -> str:
    """Which of two candidates is better; `difference` is that of their balanced accuracies, a minus b."""
    value, low, high = difference["value"], difference["low"], difference["high"]
    if value is None or low is None or high is None or p_holm is None:
        return f"{a} and {b} cannot be compared: {difference['remark']}"
    p_text = "p < 0.001 (Holm)" if p_holm < 0.001 else f"p = {p_holm:.3f} (Holm)"
    if not significant:
        return f"No significant difference between {a} and {b}: {stated(difference)}, {p_text}."
    if value < 0:
        a, b, difference = b, a, Estimate(value=-value, low=-high, high=-low, remark=None)
    return f"{a} is better than {b} by {stated(difference)}, {p_text}."


def verdict(rows: Sequence[CandidateRow], pairs: Sequence[Pair], baseline: BestBaseline | None) -> list[str]:
    """Which candidate is best on validation, its test score against the others; then limits of the comparison.

    The compared candidates are the first rows, by falling validation score.
    """
    compared = [row for row in rows if row["compared"]]
    if not rows:
        return ["No run has finished, so there is nothing to compare."]
    if not compared:
        sentences = ["There is nothing to compare: no candidate has a result that can be used."]
    else:
        best = compared[0]
        sentences = [_best(best), *_against_others(best["title"], pairs, len(compared)), *_baseline(best, baseline)]
    return sentences + _cautions(compared) + _left_out(rows)


def _best(row: CandidateRow) -> str:
    validation, test, seeds = row["validation"], row["test"], len(row["seeds"])
    if validation["mean"] is None or test["mean"] is None:
        return f"{row['title']} has no balanced accuracy: {test['remark'] or 'validation shows one label only.'}"
    score = stated(Estimate(value=test["mean"], low=test["low"], high=test["high"], remark=None))
    sentence = (
        f"{row['title']} is best on validation (balanced accuracy {validation['mean']:.3f}) and has {score} on test, "
        f"{f'over {seeds} seeds' if seeds > 1 else 'with one seed'}."
    )
    return f"{sentence} {test['remark']}" if test["remark"] else sentence


def _against_others(best: str, pairs: Sequence[Pair], compared: int) -> list[str]:
    """The pairs with the best candidate, which comes first in each: pairs are in the order of the candidates."""
    if compared == 1:
        return ["There is no other candidate to compare it with."]
    own = [pair for pair in pairs if pair["a"] == best]
    sentences = [pair["verdict"] for pair in own]
    if len(own) > 1 and not any(pair["significant"] for pair in own):
        sentences.insert(0, "There is no significant difference between it and any other candidate.")
    return sentences


def _baseline(best: CandidateRow, baseline: BestBaseline | None) -> list[str]:
    if baseline is None:
        return []
    test, score = best["test"], baseline["balanced_accuracy"]
    won = beats(test["mean"], test["low"], score)
    if won is None and test["low"] is None:
        return []
    outcome = "beats" if won else "does not clearly beat"
    return [f"{best['title']} {outcome} the best trivial baseline, {baseline['title']}, which scores {score:.3f}."]


def _cautions(compared: Sequence[CandidateRow]) -> list[str]:
    sentences = []
    if compared and all(row["leaky"] for row in compared):
        sentences.append("All candidates are leaky: their scores are too good, and say little about people never seen.")
    few = [row for row in compared if row["test"]["covers"] == PEOPLE]
    if single := [row["title"] for row in few if len(row["seeds"]) == 1]:
        sentences.append(f"With one seed the interval does not cover the chance of training: {first_few(single)}.")
    sentences += [
        f"With two seeds the interval of {row['title']} does not cover the chance of training; its seeds scored "
        f"{listed(f'{score:.3f}' for score in sorted(row['test']['seed_scores']))}."
        for row in few
        if len(row["seeds"]) == 2
    ]
    devices = dict.fromkeys(row["cost"]["device"] for row in compared if row["cost"]["device"])
    if len(devices) > 1:
        sentences.append(f"Times were measured on different devices ({'; '.join(devices)}) and do not compare.")
    return sentences


def _left_out(rows: Sequence[CandidateRow]) -> list[str]:
    sentences = [f"Not compared: {row['title']}. {row['remark']}" for row in rows if row["remark"]]
    repeated = [Path(folder).name for row in rows for folder in row["repeated"]]
    if repeated:
        sentences.append(f"Not counted, because a later run has the same settings and seed: {first_few(repeated)}.")
    return sentences
