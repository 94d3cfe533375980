"""The results of a comparison, in sentences."""

from collections.abc import Sequence
from pathlib import Path

from gender_cls.errors import first_few
from gender_cls.evaluation.comparison.compare_json import NOT_TESTED, OTHER_ROWS, PEOPLE, CandidateRow, Pair
from gender_cls.evaluation.comparison.transfer_json import Transfer
from gender_cls.evaluation.comparison.transfer_sentences import elsewhere_sentence
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.standing import CHANCE
from gender_cls.evaluation.untested import testing_sentence
from gender_cls.evaluation.wording import decimal, listed, stated

MOST_PAIRS = 3  # pairs with the best candidate that are told one by one


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


def short_verdict(pair: Pair) -> str:
    """`net is better`, or that there is no significant difference."""
    if not pair["significant"]:
        return "no significant difference"
    return f"{pair['a'] if (pair['difference'] or 0) > 0 else pair['b']} is better"


def verdict(rows: Sequence[CandidateRow], pairs: Sequence[Pair], transfer: Transfer | None) -> list[str]:
    """Which candidate is best on validation, what its test score is worth, how it compares with the others, and the
    drop elsewhere; then limits of the comparison."""
    compared = [row for row in rows if row["compared"]]
    best = best_on_validation(rows)
    if not rows:
        return ["No run has finished, so there is nothing to compare."]
    if not compared and (untested := _untested(rows)):
        sentences = [_by_validation(untested)]
    elif not compared:
        sentences = ["There is nothing to compare: no candidate has a result that can be used."]
    elif best is None:
        sentences = [f"No candidate can be recommended. {_worthless(compared)[0]}"]
    else:
        sentences = [_best(best), *against_others(best["title"], pairs)]
    elsewhere = [] if transfer is None else [elsewhere_sentence(transfer)]
    return sentences + elsewhere + cautions(rows, transfer) + _repeated(rows)


def best_on_validation(rows: Sequence[CandidateRow]) -> CandidateRow | None:
    """The first of the compared candidates, which come by falling validation score, that can be called the best.

    One cannot that always gives the same answer, has no test score, or is no better than guessing on validation. One
    that is no better than guessing on test can, because the choice is made on validation: what it is worth is said with
    it.
    """
    return next((row for row in rows if row["compared"] and _can_be_best(row)), None)


def _can_be_best(row: CandidateRow) -> bool:
    standing, validation = row["standing"], row["validation"]["mean"]
    gives_one_answer = standing is None or standing["kind"] in ("undefined", "constant")
    return not gives_one_answer and validation is not None and validation > CHANCE


def cautions(rows: Sequence[CandidateRow], transfer: Transfer | None) -> list[str]:
    """Limits of the comparison: candidates that show nothing, what numbers do not say, and candidates left out."""
    compared = [row for row in rows if row["compared"]]
    worthless = _worthless(compared)
    if best_on_validation(rows) is None:
        worthless = worthless[1:]  # the verdict begins with the first
    others = _of_other_datasets(rows)
    untested = _untested(rows)
    told = [*others, *untested]
    left_out = [f"Not compared: {row['title']}. {row['remark']}" for row in rows if row["remark"] and row not in told]
    about = _about_datasets(compared, others, transfer) + _about_untested(untested, compared)
    return worthless + _cautions(compared) + about + left_out


def _untested(rows: Sequence[CandidateRow]) -> list[CandidateRow]:
    return [row for row in rows if row["remark"] == NOT_TESTED]


def _by_validation(untested: Sequence[CandidateRow]) -> str:
    """What is left to say if no candidate was tested; they come by falling validation score."""
    first = untested[0]
    chosen = "the only candidate" if len(untested) == 1 else f"the best of {len(untested)} candidates"
    return (
        f"Nothing was tested: by validation alone {first['title']} is {chosen} (balanced accuracy "
        f"{decimal(first['validation']['mean'])} at the threshold 0.5)."
    )


def _about_untested(untested: Sequence[CandidateRow], compared: Sequence[CandidateRow]) -> list[str]:
    if not untested:
        return []
    if compared:
        return [f"Not tested, and so not compared: {first_few(row['title'] for row in untested)}."]
    chosen = "The best score of several was chosen because it is high, so it is too good. " * (len(untested) > 1)
    return [f"{chosen}{testing_sentence(untested[0]['runs'][0]['folder'])}"]


def _of_other_datasets(rows: Sequence[CandidateRow]) -> list[CandidateRow]:
    """Candidates that take no part because their test is of another dataset than that of the compared ones."""
    compared = {row["dataset"] for row in rows if row["compared"]}
    others = [row for row in rows if not row["compared"] and row["rows"] == OTHER_ROWS and row["remark"]]
    return [row for row in others if compared and row["dataset"] not in (None, *compared)]


def _about_datasets(
    compared: Sequence[CandidateRow], others: Sequence[CandidateRow], transfer: Transfer | None
) -> list[str]:
    """One sentence for all candidates of other datasets: a sweep over datasets has many."""
    if not others:
        return []
    here, there = (listed(dict.fromkeys(str(row["dataset"]) for row in rows)) for rows in (compared, others))
    how = "the transfer matrix compares them"
    if transfer is None:
        how = "python -m gender_cls.evaluate run=SWEEP elsewhere=all tests each run on the data of the others"
    return [f"Pairs and the choice are of candidates tested on {here}; others were tested on {there}: {how}."]


def _best(row: CandidateRow) -> str:
    validation, test, seeds, standing = row["validation"], row["test"], len(row["seeds"]), row["standing"]
    assert standing is not None
    score = stated(Estimate(value=test["mean"], low=test["low"], high=test["high"], remark=None))
    sentences = [
        f"{row['title']} is best on validation (balanced accuracy {decimal(validation['mean'])}) and has {score} on "
        f"test, {f'over {seeds} seeds' if seeds > 1 else 'with one seed'}, both at the threshold 0.5."
    ]
    if standing["level"] == "stop":
        sentences.append("Do not rely on it.")
    return " ".join([*sentences, standing["sentence"], *([test["remark"]] if test["remark"] else [])])


def _worthless(compared: Sequence[CandidateRow]) -> list[str]:
    """Why candidates cannot be the best: each reason once, with those that it holds for."""
    titles: dict[str, list[str]] = {}
    for row in (row for row in compared if not _can_be_best(row)):
        titles.setdefault(row["standing"]["sentence"] if row["standing"] else "", []).append(row["title"])
    return [f"{first_few(names)}: {sentence}" for sentence, names in titles.items()]


def against_others(best: str, pairs: Sequence[Pair]) -> list[str]:
    """How the best candidate compares with each other one, or with all of them in one sentence if they are many."""
    own = [pair for pair in pairs if best in (pair["a"], pair["b"])]
    significant = [pair for pair in own if pair["significant"]]
    if not own:
        return ["There is no other candidate to compare it with."]
    if len(own) <= MOST_PAIRS:
        sentences = [pair["verdict"] for pair in own]
        if len(own) > 1 and not significant:
            sentences.insert(0, "There is no significant difference between it and any other candidate.")
        return sentences
    if not significant:
        return [f"There is no significant difference between {best} and any of the {len(own)} other candidates."]
    worse = sum((pair["a"] == best) == ((pair["difference"] or 0) > 0) for pair in significant)
    better, open_ = len(significant) - worse, len(own) - len(significant)
    parts = [f"better than {worse}"] * bool(worse) + [f"worse than {better}"] * bool(better)
    sentence = f"{best} is {' and '.join(parts)} of the {len(own)} other candidates on test"
    return [f"{sentence}; with {open_} there is no significant difference." if open_ else f"{sentence}."]


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
        sentences.append(f"Times were measured in different ways ({'; '.join(devices)}) and do not compare.")
    return sentences


def _repeated(rows: Sequence[CandidateRow]) -> list[str]:
    repeated = [Path(folder).name for row in rows for folder in row["repeated"]]
    if not repeated:
        return []
    return [f"Not counted, because a later run has the same settings and seed: {first_few(repeated)}."]
