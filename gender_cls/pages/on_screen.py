"""Results of a run, of a test on other data and of a comparison in the terminal: tables that fit it, then sentences."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gender_cls.errors import of_people, plural
from gender_cls.evaluation.comparison.compare_json import Comparison, MeanCost, Pair
from gender_cls.evaluation.comparison.sentences import short_verdict
from gender_cls.evaluation.comparison.transfer_lines import rows_by_candidate
from gender_cls.evaluation.elsewhere_schema import HomeAndHere
from gender_cls.evaluation.elsewhere_wording import PARTS, left_out_words
from gender_cls.evaluation.estimate import Estimate, best_baseline
from gender_cls.evaluation.schema import Metrics
from gender_cls.evaluation.untested import testing_sentence, validation_score
from gender_cls.evaluation.wording import ABOUT_DISTURBED, debugging_sentence, decimal, p_value, stated, timed, words
from gender_cls.pages.comparison_table import ENSEMBLE, about_test, notes_of
from gender_cls.pages.transfer_table import transfer_on_screen
from gender_cls.runs.run import Run
from gender_cls.system.terminal import Column, shortest, table_on_screen

if TYPE_CHECKING:
    from rich.table import Table

LEAKY = "LEAKY: training saw people of test, or copies of its images; data.leaks in metrics.json says how many."
MOST_PAIRS = 10  # on the screen; the page has them all


def run_on_screen(metrics: Metrics) -> list["str | Table"]:
    """The scores on validation and test, what they are worth, and what could not be made."""
    test, validation, best = metrics["test"], metrics["validation"], best_baseline(metrics["baselines"])
    names = ("balanced_accuracy", "auroc")
    baselines = ["" if best is None else decimal(best["balanced_accuracy"]), ""]
    table = table_on_screen([
        Column("", ["balanced accuracy", "AUROC"]),
        Column("validation", [decimal(validation["scores"][name]["value"]) for name in names], number=True),
        Column("test [95 %]", [stated(test["scores"][name]) for name in names]),
        Column("best trivial baseline", baselines, number=True, rank=1),
    ])  # fmt: skip
    return [
        f"Tested: the weights of epoch {metrics['best_epoch']}, the best on validation ({words(metrics['monitor'])} "
        f"{metrics['best_validation']:.3f}), on {of_people(test['images'], 'image', test['identities'])}.",
        "",
        table,
        "",
        metrics["standing"]["sentence"],
        *([LEAKY] * bool(metrics["data"]["leaky"])),
        *(f"Not made: {part}. {why}" for part, why in metrics["problems"].items()),
    ]


def untested_on_screen(run: Run) -> list["str | Table"]:
    """What validation says of a run whose test split was left alone, and how it is tested."""
    status, monitor = run.status, run.settings["recipe"]["monitor"]
    if "best_epoch" not in status:
        done = f"trained, validated and explained a few batches without an error ({run.debugging})"
        return [f"{run.folder.name} {done}. It kept no checkpoint, so there is nothing to test."]
    return [
        f"Not tested (evaluation.test=false). The weights of epoch {status['best_epoch']} are the best on validation "
        f"({words(monitor)} {status['best_validation']:.3f}). {testing_sentence(shortest(run.folder))}",
        *([debugging_sentence(run.debugging)] if run.debugging else []),
    ]


def elsewhere_on_screen(metrics: Metrics) -> list["str | Table"]:
    """The drop on other data, its reasons, what adapting without labels changed, and what was left out."""
    test, found = metrics["test"], metrics["elsewhere"]
    assert found is not None
    scores, threshold, calibration = found["scores"], found["threshold"], found["calibration"]
    rows: list[tuple[str, HomeAndHere | None, Estimate]] = [
        ("balanced accuracy", scores["balanced_accuracy"], scores["balanced_accuracy"]["here"]),
        ("AUROC", found["ranking"]["auroc"], found["ranking"]["auroc"]["here"]),
        (f"at the threshold {decimal(threshold['threshold'])}", threshold["balanced_accuracy"],
         threshold["balanced_accuracy"]["here"]),
        ("at the best threshold *", None, threshold["best"]),
        ("ECE (lower is better)", calibration["ece"], calibration["ece"]["here"]),
        ("share of FEMALE", None, found["share_of_labels"]["here"]),
    ]  # fmt: skip
    table = table_on_screen([
        Column("", [title for title, _, _ in rows]),
        Column("home", [decimal(both["home"]["value"]) if both else "" for _, both, _ in rows], number=True),
        Column("here [95 %]", [stated(here) for _, _, here in rows]),
        Column("drop [95 %]", [stated(both["drop"]) if both else "" for _, both, _ in rows]),
    ])  # fmt: skip
    left_out = left_out_words(found["left_out"])
    return [
        f"Tested on {PARTS[found['part']]} {found['name']}: {of_people(test['images'], 'image', test['identities'])}.",
        *([left_out] * bool(left_out)),
        "",
        table,
        "* It needs labels, so a user of the model cannot have it.",
        "",
        metrics["standing"]["sentence"],
        *(f"- {sentence}" for sentence in [*found["sentences"], *(one["sentence"] for one in found["adapted"])]),
        *(f"Not made: {part}. {why}" for part, why in metrics["problems"].items()),
    ]


def score_on_screen(metrics: Metrics) -> str:
    """A job of a sweep in a few words: `bal. acc. 0.812 on validation, 0.790 [0.730, 0.840] on test`."""
    validation, test = (metrics[split]["scores"]["balanced_accuracy"] for split in ("validation", "test"))
    return f"bal. acc. {decimal(validation['value'])} on validation, {stated(test)} on test"


def validation_on_screen(run: Run) -> str:
    """The same of a job without a test: `bal. acc. 0.812 on validation, not tested`."""
    return f"bal. acc. {decimal(validation_score(run))} on validation, not tested"


def comparison_on_screen(comparison: Comparison, page: str) -> list["str | Table"]:
    """The candidates, the pairs with the first one, the verdict, and what did not finish.

    Args:
        page: the name of the page that has the rest.
    """
    rows = comparison["candidates"]
    parts: list[str | Table] = [_candidates(comparison)] if rows else []
    if comparison["images"]:
        parts += ["", about_test(comparison)]
    if any(row["cost"]["disturbed"] for row in rows):
        parts.append(ABOUT_DISTURBED)
    shown = [pair for pair in comparison["pairs"] if rows[0]["title"] in (pair["a"], pair["b"])][:MOST_PAIRS]
    if shown:
        parts += ["", _pairs(shown)]
        if more := len(comparison["pairs"]) - len(shown):
            parts.append(f"{page} has {plural(more, 'more pair')}.")
    if comparison["transfer"] is not None:
        parts += ["", *transfer_on_screen(comparison["transfer"], page)]
    parts += ["", *(f"- {sentence}" for sentence in comparison["verdict"])]
    named = [run for row in rows for run in row["runs"] if run["state"] != "finished"] + comparison["unfinished"]
    failed = {run["folder"]: run for run in named}.values()  # a seed without results is in both
    if failed:
        parts.append("\nNot finished:")
        parts += [f"- {Path(run['folder']).name}: {run['error'] or run['state']}" for run in failed]
    return parts


def _time(cost: MeanCost) -> str:
    return timed(decimal(cost["milliseconds_batch_32"], 1), cost["disturbed"])


def _candidates(comparison: Comparison) -> "Table":
    rows, ensemble = comparison["candidates"], comparison["ensemble"]
    away = [rows_by_candidate(comparison["transfer"]).get(row["title"]) for row in rows]
    # Title: rank, whether it is a number, cells. The settings that vary stay long: they say which candidate is which.
    columns: dict[str, tuple[int, bool, list[str]]] = {
        "candidate": (0, False, [row["title"] for row in rows]),
        **{key: (1, False, [row["varied"].get(key, "") for row in rows]) for row in rows[:1] for key in row["varied"]},
        "seeds": (3, True, [str(len(row["seeds"])) for row in rows]),
        "validation": (0, True, [decimal(row["validation"]["mean"]) for row in rows]),
        "test [95 %]": (0, False, [stated(_estimate(row["test"])) for row in rows]),
        "AUROC": (2, True, [decimal(row["auroc"]) for row in rows]),
        "elsewhere": (2, True, [decimal(one and one["mean_elsewhere"]["value"]) for one in away]),
        "drop": (2, True, [decimal(one and one["mean_drop"]["value"]) for one in away]),
        "ms/image": (4, True, [_time(row["cost"]) for row in rows]),
        "note": (0, False, list(map(notes_of, rows))),
    }
    if ensemble is not None:
        own = {
            "candidate": ENSEMBLE,
            "test [95 %]": stated(ensemble["balanced_accuracy"]),
            "AUROC": decimal(ensemble["auroc"]),
            "ms/image": _time(ensemble["cost"]),
        }
        for name, (_, _, cells) in columns.items():
            cells.append(own.get(name, ""))
    return table_on_screen(
        [Column(name, cells, rank=rank, number=number) for name, (rank, number, cells) in columns.items()]
    )


def _estimate(test: Any) -> Estimate:
    return Estimate(value=test["mean"], low=test["low"], high=test["high"], remark=None)


def _pairs(pairs: list[Pair]) -> "Table":
    return table_on_screen([
        Column("pair", [f"{pair['a']} - {pair['b']}" for pair in pairs]),
        Column("difference [95 %]", [stated(_difference(pair)) for pair in pairs]),
        Column("p (Holm)", [p_value(pair["p_holm"]) for pair in pairs], number=True),
        Column("", list(map(short_verdict, pairs)), rank=1),
    ])  # fmt: skip


def _difference(pair: Pair) -> Estimate:
    return Estimate(value=pair["difference"], low=pair["low"], high=pair["high"], remark=None)
