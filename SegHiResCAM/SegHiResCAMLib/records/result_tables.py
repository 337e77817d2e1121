"""The tables of a result: what `explanation.json` has in lists, as CSV files beside it, whoever writes them."""

from __future__ import annotations

from SegHiResCAMLib.records.csv_form import records_csv
from SegHiResCAMLib.records.explanation import ExplanationRecord
from SegHiResCAMLib.records.map_check import check_values

REGIONS, AGREEMENT, MISTAKES = "regions.csv", "agreement.csv", "mistakes.csv"
CHECK, INPUTS = "check.csv", "inputs.csv"
CHECK_FIGURE = "check.png"


def tables_of(record: ExplanationRecord) -> dict[str, str]:
    """Name and content of each table that there is something for."""
    found: dict[str, str] = {}
    if record.regions:
        found[REGIONS] = records_csv(record.regions)
    if record.input_shares is not None:
        found[INPUTS] = records_csv(record.input_shares.inputs)
    checked = [(one.question.method, one.check) for one in (record, *record.compared_with) if one.check is not None]
    if checked:
        found[CHECK] = records_csv([value for one in checked for value in check_values(*one)])
    if record.comparison is not None:
        found[AGREEMENT] = records_csv(record.comparison.agreements)
        if record.comparison.mistakes:
            found[MISTAKES] = records_csv(record.comparison.mistakes)
    return found
