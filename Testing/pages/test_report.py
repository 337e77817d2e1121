"""The report of a study in a real browser: sorted, filtered, and quick with many cases."""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages.browser import browser, open_page
from PIL import Image

from SegHiResCAMLib.pages.charts import Strip, bar_chart, strip_plot
from SegHiResCAMLib.pages.report import StudyPage, report_page

CASES = 500
EVIL = "<img src=x onerror=\"document.title='ran'\">"


def a_report() -> StudyPage:
    rows = [
        {
            "case": f"case_{number:05d}",
            "hospital": "AB"[number % 2],
            "status": "done",
            "dice.kidney": number / CASES,
            "findings": "grid-coarse" if number % 5 == 0 else "",
        }
        | {f"further_{column}": number * column for column in range(40)}
        for number in range(CASES - 1)
    ]
    rows.append({"case": EVIL, "hospital": "A", "status": "failed", "message": EVIL, "dice.kidney": None})
    content = io.BytesIO()
    Image.new("RGB", (24, 9), (200, 80, 20)).save(content, "JPEG")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    values = [row["dice.kidney"] for row in rows[:-1]]
    return StudyPage(
        title="Why kidney?",
        lines=["A network"],
        columns=columns,
        shown=["case", "hospital", "status", "dice.kidney", "findings", "message"],
        rows=rows,
        links={"case_00003": "cases/case_00003/viewer.html"},
        thumbnails={"case_00003": base64.b64encode(content.getvalue()).decode()},
        worst_by="dice.kidney",
        charts=[
            strip_plot("Dice", [Strip("kidney", values, [row["case"] for row in rows[:-1]], 0.5, 0.45, 0.55)]),
            bar_chart("Findings", {"grid-coarse": 100, EVIL: 1}, CASES),
        ],
        comparisons=[["measure", "p"], ["share_inside", "0.01"]],
        methods=["We explained."],
    )


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser() as started:
        path = tmp_path_factory.mktemp("report") / "report.html"
        path.write_text(report_page(a_report()), encoding="utf-8")
        started.report = path
        yield started


@pytest.fixture
def report(driver: Any) -> Any:
    path: Path = driver.report
    open_page(driver, path)
    return driver


def first_cases(driver: Any, count: int = 3) -> list[str]:
    cells = driver.find_elements("css selector", "#table tbody tr")[:count]
    return [one.find_elements("tag name", "td")[1].text for one in cells]


def sort_by(driver: Any, name: str) -> None:
    for one in driver.find_elements("css selector", "#table thead button"):
        if one.text.split(" ")[0] == name:
            one.click()
            return
    raise AssertionError(name)


def filtered(driver: Any, text: str) -> str:
    box = driver.find_element("id", "filter")
    box.clear()
    box.send_keys(text)
    return str(driver.find_element("id", "count").text)


def test_a_title_sorts_and_sorts_back_and_what_is_missing_stays_last(report: Any) -> None:
    sort_by(report, "dice.kidney")
    assert first_cases(report) == ["case_00000", "case_00001", "case_00002"]
    sort_by(report, "dice.kidney")
    assert first_cases(report, 2) == ["case_00498", "case_00497"]
    last = report.find_elements("css selector", "#table tbody tr")[-1]
    assert EVIL in last.text


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("case_0004", 10),
        ("grid-coarse", 100),
        ("grid-coarse case_0004", 2),
        ("dice.kidney < 0.1", 50),
        ("dice.kidney >= 0.99", 4),
        ("failed", 1),
        ("nothing like it", 0),
    ],
)
def test_words_and_comparisons_filter(report: Any, text: str, count: int) -> None:
    assert filtered(report, text) == f"{count} of {CASES} cases"
    assert len(report.find_elements("css selector", "#table tbody tr")) == count


def test_columns_are_chosen(report: Any) -> None:
    report.find_element("tag name", "summary").click()
    report.find_element("xpath", "//label[normalize-space()='further_7']/input").click()
    titles = [one.text for one in report.find_elements("css selector", "#table thead button")]
    assert "further_7" in titles


def test_a_case_leads_to_its_page_by_name_and_thumbnail(report: Any) -> None:
    filtered(report, "case_00003")
    (row,) = report.find_elements("css selector", "#table tbody tr")
    links = [one.get_attribute("href") for one in row.find_elements("tag name", "a")]
    assert len(links) == 2
    assert all(one.endswith("/cases/case_00003/viewer.html") for one in links)
    assert report.execute_script("return document.querySelector('#table img').naturalWidth") == 24


def test_names_are_text_and_nothing_is_loaded(report: Any) -> None:
    assert report.title == "Why kidney?"
    loaded = report.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert [one for one in loaded if not one.startswith("data:")] == []
    assert report.execute_script("return document.querySelectorAll('img[src=x]').length") == 0


def test_many_cases_are_sorted_and_filtered_without_delay(report: Any) -> None:
    begin = time.monotonic()
    took = report.execute_script(
        "const begin = performance.now();"
        "document.querySelectorAll('#table thead button')[3].click();"
        "const box = document.getElementById('filter'); box.value = 'case_000'; box.dispatchEvent(new Event('input'));"
        "document.body.offsetHeight; return performance.now() - begin"
    )
    assert took < 1000, "milliseconds; a tenth of it where nothing else computes"
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ([0.12, 0.9], ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ([-3.2, 17.0], ["-5", "0", "5", "10", "15", "20"]),
        ([7.3, 7.3], ["6", "6.5", "7", "7.5", "8", "8.5"]),
        ([1234.0, 98765.0], ["0", "20000", "40000", "60000", "80000", "100000"]),
        ([1.0031, 1.0094], ["1.002", "1.004", "1.006", "1.008", "1.01"]),
    ],
)
def test_the_numbers_of_an_axis_are_round_and_hold_all_values(values: list[float], numbers: list[str]) -> None:
    drawn = strip_plot("Peak", [Strip("all", values, ["a", "b"])])
    assert re.findall(r'class="tick">([^<]*)<', drawn) == numbers
    left, *_, right = (float(x) for x in re.findall(r'x="([0-9.]+)" y="[0-9.]+" class="tick"', drawn))
    for x, value in zip(re.findall(r'cx="([0-9.]+)"', drawn), values, strict=True):
        share = (value - float(numbers[0])) / (float(numbers[-1]) - float(numbers[0]))
        assert float(x) == pytest.approx(left + share * (right - left), abs=0.1)
