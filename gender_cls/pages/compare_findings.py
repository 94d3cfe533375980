"""The first screen of a comparison: the candidate that validation chooses, and findings."""

from gender_cls.errors import plural
from gender_cls.evaluation.comparison.compare_json import Comparison
from gender_cls.evaluation.comparison.sentences import against_others, best_on_validation
from gender_cls.evaluation.comparison.transfer_sentences import elsewhere_sentence
from gender_cls.evaluation.wording import Finding, by_importance


def headline(comparison: Comparison) -> str:
    """The answer in one sentence."""
    chosen = best_on_validation(comparison["candidates"])
    if chosen is None:
        return comparison["verdict"][0]
    standing, compared = chosen["standing"], sum(row["compared"] for row in comparison["candidates"])
    place = f"is the best of {compared} candidates on validation" if compared > 1 else "is the only candidate"
    relied_on = standing is None or standing["level"] != "stop"
    return f"{chosen['title']} {place}." if relied_on else f"{chosen['title']} {place}, but do not rely on it."


def findings_of(comparison: Comparison) -> list[Finding]:
    """What the chosen candidate is worth, how it compares with the others, and limits; warnings first."""
    chosen = best_on_validation(comparison["candidates"])
    findings = [Finding("warn", sentence) for sentence in comparison["cautions"]]
    if chosen is not None:
        if standing := chosen["standing"]:
            findings.insert(0, Finding(standing["level"], standing["sentence"]))
        if remark := chosen["test"]["remark"]:
            findings.append(Finding("note", remark))
        findings += [Finding("note", sentence) for sentence in against_others(chosen["title"], comparison["pairs"])]
    if comparison["transfer"] is not None:
        findings.append(Finding("note", elsewhere_sentence(comparison["transfer"])))
    if unfinished := comparison["unfinished"]:
        findings.append(Finding("note", f"{plural(len(unfinished), 'run')} did not finish: see below the candidates."))
    return by_importance(findings)
