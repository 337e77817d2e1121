"""`report.html`: a study at a glance, with its table, in a single file that opens each case's page beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from SegHiResCAMLib.pages.self_contained import json_data, page, text, text_of
from SegHiResCAMLib.records.study import Cell
from SegHiResCAMLib.records.wording import RESEARCH_ONLY

REPORT = "report.html"


@dataclass(frozen=True)
class StudyPage:
    """What the page shows.

    Attributes:
        title: Heading.
        lines: Under it, one each: what was asked, of which model.
        columns: Of the table, in their order.
        shown: Of these, the ones that are shown at first.
        rows: Cells by column, the worst case first.
        links: By case: its page, as a path from the report.
        thumbnails: By case: a JPEG in base64.
        worst_by: What the order of the rows is by, for people.
        charts: HTML of figures.
        comparisons: Rows of the table of paired differences, with its heading first; empty for none.
        methods: Paragraphs for a paper.
    """

    title: str
    lines: Sequence[str]
    columns: Sequence[str]
    shown: Sequence[str]
    rows: Sequence[Mapping[str, Cell]]
    links: Mapping[str, str]
    thumbnails: Mapping[str, str]
    worst_by: str
    charts: Sequence[str]
    comparisons: Sequence[Sequence[str]]
    methods: Sequence[str]


def report_page(report: StudyPage) -> str:
    """The HTML file. Case names are shown as the study has them, and nothing else of a patient."""
    data = {
        "columns": list(report.columns),
        "shown": list(report.shown),
        "rows": [[row.get(name) for name in report.columns] for row in report.rows],
        "links": dict(report.links),
        "thumbnails": dict(report.thumbnails),
    }
    body = "".join(
        [
            f"<header><h1>{text(report.title)}</h1>",
            *(f"<p>{text(line)}</p>" for line in report.lines),
            "</header><main>",
            '<section id="cases"><h2>Cases</h2>',
            f"<p class=\"small\">Sorted by {text(report.worst_by)}. A column's title sorts by it; a case's name opens its page.</p>",
            (
                '<div class="tools"><label>Filter <input id="filter" type="search" placeholder="name, group, finding, or dice.kidney < 0.8"></label>'
                '<output id="count"></output><details><summary>Columns</summary><div id="choice"></div></details></div>'
            ),
            '<div class="scroll"><table id="table"><thead></thead><tbody></tbody></table></div></section>',
            (
                f'<section><h2>Distributions</h2><p class="small">A point is a case; the mark is the mean with its 95 % bootstrap interval over cases.</p>'
                f'<div class="charts">{"".join(report.charts)}</div></section>'
            ),
            _comparisons(report.comparisons),
            f"<section><h2>For the methods section of a paper</h2>{''.join(f'<p>{text(one)}</p>' for one in report.methods)}</section>",
            f'<p class="small">{text(RESEARCH_ONLY)}</p></main>',
        ]
    )
    return page(report.title, text_of("report.css"), body, [text_of("report.js")], {"study": json_data(data)})


def _comparisons(rows: Sequence[Sequence[str]]) -> str:
    if len(rows) < 2:
        return ""
    head, *body = rows
    titles = "".join(f"<th>{text(one)}</th>" for one in head)
    lines = "".join(f"<tr>{''.join(f'<td>{text(one)}</td>' for one in row)}</tr>" for row in body)
    return (
        '<section><h2>Methods, case by case</h2><p class="small">Mean of the paired differences with its 95 % bootstrap interval; Wilcoxon signed-rank '
        f"test, adjusted by Holm over all rows.</p><table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table></section>"
    )
