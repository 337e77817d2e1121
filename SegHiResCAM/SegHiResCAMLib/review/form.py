"""What a reader is asked of each case: a few questions with choices, and room for words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from SegHiResCAMLib.records.json_form import MalformedError, from_json
from SegHiResCAMLib.review.errors import ReviewError

FORM = "review-form.json"
"""In a study's folder: questions of its own."""

LARGEST = 2**20
MOST_QUESTIONS, MOST_CHOICES = 20, 20

RESERVED = ("time", "reader", "case", "position", "map", "seconds", "seconds_hidden", "options")
"""Columns that every answer has."""


@dataclass(frozen=True)
class ReviewQuestion:
    """One question.

    Attributes:
        name: Of its column.
        text: What the reader sees.
        choices: To choose one of, in their order; none for words of the reader's own.
        required: Whether an answer must be given.
    """

    name: str
    text: str
    choices: tuple[str, ...] = ()
    required: bool = True


@dataclass(frozen=True)
class ReviewForm:
    """All questions, in their order."""

    questions: tuple[ReviewQuestion, ...]


_SCALE = ("1 not at all", "2", "3", "4", "5 completely")

DEFAULT = ReviewForm(
    (
        ReviewQuestion("agreement", "The segmentation is right", _SCALE),
        ReviewQuestion("plausibility", "The heat map marks what a reader would look at", _SCALE),
        ReviewQuestion("comment", "Comment", required=False),
    )
)


def read_form(folder: Path) -> ReviewForm:
    """The questions of a study: its own, from `review-form.json`, or those that always suit.

    Raises:
        ReviewError: `form-unreadable`.
    """
    path = folder / FORM
    if not path.exists():
        return DEFAULT
    try:
        with path.open("rb") as file:
            given = file.read(LARGEST + 1)
        form = from_json(ReviewForm, json.loads(given))
    except (OSError, ValueError, RecursionError) as problem:
        what = str(problem) if isinstance(problem, MalformedError) else "its JSON cannot be read"
        raise _unreadable(path, what) from problem
    problem_found = _problem_of(form)
    if problem_found:
        raise _unreadable(path, problem_found)
    return form


def _problem_of(form: ReviewForm) -> str:
    names = [one.name.strip() for one in form.questions]
    if not names or len(names) > MOST_QUESTIONS:
        return f"it has {len(names)} questions, and 1 to {MOST_QUESTIONS} can be asked"
    if any(not name or name in RESERVED for name in names) or len(set(names)) != len(names):
        return f"each question needs a name of its own, other than {', '.join(RESERVED)}"
    if any(len(one.choices) > MOST_CHOICES or len(set(one.choices)) != len(one.choices) for one in form.questions):
        return f"a question has the same choice twice, or more than {MOST_CHOICES}"
    return ""


def _unreadable(path: Path, what: str) -> ReviewError:
    return ReviewError(
        "form-unreadable",
        f"'{path}' cannot be used as a form: {what}. Correct it, or remove it to ask the usual questions.",
    )
