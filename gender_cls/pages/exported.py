"""What `parity.json` says, on the screen and as a section of the model card next to the exported files."""

import re
from typing import TYPE_CHECKING

from gender_cls.errors import count, plural
from gender_cls.evaluation.export_schema import LOGIT_TOLERANCE, PROBABILITY_TOLERANCE, Parity, Speed
from gender_cls.evaluation.wording import (
    capitalised,
    decimal,
    markdown_table,
    percent,
    score_title,
    stated_change,
    three_digits,
    timed,
)
from gender_cls.pages.model_card import filled_card
from gender_cls.runs.run import Run
from gender_cls.system.terminal import Column, table_on_screen

if TYPE_CHECKING:
    from rich.table import Table

Cells = tuple[list[str], list[list[str]]]
"""A table's header and its rows; every column but the first holds numbers."""

ROUNDED = "Other than model.onnx"
"""The title of the answers that fewer bits change."""

RUNNING = (
    "`python run_onnx.py model_native.onnx image.jpg` answers pictures. It needs onnxruntime, numpy and Pillow, and "
    "shows what a program of your own has to do."
)


def exported_on_screen(parity: Parity) -> list["str | Table"]:
    """How far the files agree with the network and with the report, and how fast they are."""
    parts: list[str | Table] = [_agreement(parity)]
    for header, rows in (_checks(parity), _files(parity), _speed(parity)):
        if rows:
            columns = enumerate(zip(header, zip(*rows, strict=True), strict=True))
            parts += [
                "",
                table_on_screen([Column(title, cells, rank=max(0, place - 3)) for place, (title, cells) in columns]),
            ]
    if about := _about_disturbed(parity):
        parts.append(f"{about}.")
    return [*parts, "", next(iter(parity["files"].values()))["sentence"]]


def exported_card(run: Run, parity: Parity) -> str:
    """The run's model card as a file in the folder of the exported files, with a section about these."""
    there = run.model_card.exists()
    card = run.model_card.read_text(encoding="utf-8") if there else f"# Model card: {parity['model']}\n"
    card = re.sub(r"\]\((?![a-z]+:|/|#)", "](../", card)  # links lead from the run's folder
    body, rule, end = card.rpartition("\n---\n")
    return f"{body or end}\n{_section(parity)}{rule}{end if body else ''}"


def _section(parity: Parity) -> str:
    checks, files, speed = (
        markdown_table(header, rows, numbers=len(header) - 1)
        for header, rows in (_checks(parity), _files(parity), _speed(parity))
    )
    machine = f"{parity['environment']['processor']}, {parity['environment']['machine']}"
    report = f" ({parity['precision']})" if parity["precision"] else ""
    where = "; ".join(filter(None, [machine, _about_disturbed(parity)]))
    fastest = f"From resized pixels in memory to the outputs, the fastest of calls in turn, on {where}:"
    times = [fastest, speed] if parity["speed"] else []
    running = [RUNNING] if any(check["file"] == "model_native.onnx" for check in parity["checks"]) else []
    return filled_card(
        "\n\n".join([
            "## The exported model",
            "Each file holds the resize (in the native form), normalisation, network, temperature, threshold and band. "
            "Its metadata say where it comes from and what it is not for.",
            *running,
            _agreement(parity),
            checks,
            f"Against the report's answers{report} for test images, which choose nothing here. Brackets hold 95 % "
            "intervals over people; balanced accuracy is that at the run's threshold.",
            files,
            *times,
        ])
    )  # fmt: skip


def _agreement(parity: Parity) -> str:
    equal, largest = parity["resize"]["equal"], parity["resize"]["largest_difference"]
    others = f"{percent(equal)} of the same bytes; the others differ by at most {largest}"
    return (
        "Each file with float32 weights answers as the run's network does in float32 on the CPU: on "
        f"{plural(parity['images'], 'validation image')}, no answer differs, a logit by at most {LOGIT_TOLERANCE:g} "
        f"(beyond 1, by this share), a probability by at most {PROBABILITY_TOLERANCE:g}. "
        f"The resize in native files gives {'exactly the same bytes' if equal == 1 else others}."
    )


def _checks(parity: Parity) -> Cells:
    by_file = {
        check["file"]: [one for one in parity["checks"] if one["file"] == check["file"]] for check in parity["checks"]
    }
    return ["File", "At once", "Logits differ by", "Probabilities by", "Near a border"], [
        [
            file,
            ", ".join("1 of any size" if check["batch"] is None else str(check["batch"]) for check in checks),
            f"{max(check['largest_logit_difference'] for check in checks):.1e}",
            f"{max(check['largest_probability_difference'] for check in checks):.1e}",
            count(max(check["near_border"] for check in checks)),
        ]
        for file, checks in by_file.items()
    ]


def _files(parity: Parity) -> Cells:
    files = parity["files"]
    scores = list(next(iter(files.values()))["difference"])
    titles = (capitalised(score_title(score)) for score in scores)
    rounded = [ROUNDED] if any(file["changed_by_rounding"] for file in files.values()) else []
    return ["File", "MB", "Other answers", *titles, *rounded], [
        [
            name,
            three_digits(file["bytes"] / 1e6),
            f"{count(file['changed_answers']['test'])} of {count(file['images']['test'])}",
            *(stated_change(file["difference"][score]) for score in scores),
            *("–" if (changed := file["changed_by_rounding"]) is None else count(changed["test"]) for _ in rounded),
        ]
        for name, file in files.items()
    ]


def _speed(parity: Parity) -> Cells:
    return [f"Milliseconds per image, {plural(parity['threads'], 'thread')}", "One by one", "In batches of 32"], [
        [title, *(timed(decimal(time, 2), speed["disturbed"]) for time in _times(speed))]
        for title, speed in parity["speed"].items()
    ]


def _about_disturbed(parity: Parity) -> str:
    disturbed = any(speed["disturbed"] for speed in parity["speed"].values())
    return "~: other processes computed meanwhile" * disturbed


def _times(speed: Speed) -> tuple[float, float]:
    return speed["milliseconds_batch_1"], speed["milliseconds_batch_32"]
