"""What a comparison comes to, in sentences."""

from collections.abc import Sequence
from pathlib import Path

from gender_cls.errors import first_few
from gender_cls.evaluation.comparison.schema import BestBaseline, CandidateRow, Pair
from gender_cls.evaluation.estimate import beats


def verdict(rows: Sequence[CandidateRow], pairs: Sequence[Pair], baseline: BestBaseline | None) -> list[str]:
    """Who is best on validation, what that is worth on test, against whom; then what to be careful with.

    Args:
        rows: compared candidates first, by falling validation score.
        pairs: of compared candidates.
        baseline: the best trivial one.
    """
    compared = [row for row in rows if row["compared"]]
    sentences = []
    if not rows:
        sentences.append("There are no runs.")
    elif not compared:
        sentences.append("There is nothing to compare: no candidate has a result that can be used.")
    else:
        best = compared[0]
        sentences += [_best(best), *_against_others(best["title"], pairs, len(compared)), *_baseline(best, baseline)]
    return sentences + _cautions(compared) + _left_out(rows)


def _best(row: CandidateRow) -> str:
    validation, test, seeds = row["validation"], row["test"], len(row["seeds"])
    over = f"over {seeds} seeds" if seeds > 1 else "with one seed"
    if validation["mean"] is None or test["mean"] is None:
        return f"{row['title']} has no balanced accuracy: {test['remark'] or 'validation shows one label only.'}"
    interval = "" if test["low"] is None else f" [{test['low']:.3f}, {test['high']:.3f}]"
    sentence = (
        f"{row['title']} is best on validation (balanced accuracy {validation['mean']:.3f}) and has "
        f"{test['mean']:.3f}{interval} on test, {over}."
    )
    return f"{sentence} {test['remark']}" if test["remark"] else sentence


def _against_others(best: str, pairs: Sequence[Pair], compared: int) -> list[str]:
    """Pairs with the best one; it comes first in each, because pairs are in the order of the candidates."""
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
    named = f"the best trivial baseline, {baseline['title']}, which scores {score:.3f}"
    won = beats(test["mean"], test["low"], score)
    if won is None and test["low"] is None:
        return []
    return [f"{best['title']} {'beats' if won else 'does not clearly beat'} {named}."]


def _cautions(compared: Sequence[CandidateRow]) -> list[str]:
    sentences = []
    if compared and all(row["leaky"] for row in compared):
        sentences.append("All candidates are leaky: their scores are too good, and say little about people never seen.")
    single = [row["title"] for row in compared if len(row["seeds"]) == 1]
    if single:
        sentences.append(f"The intervals leave out the luck of training where there is one seed: {first_few(single)}.")
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
