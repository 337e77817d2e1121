"""Names are unique by construction, on any file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from SegHiResCAMLib.naming import folder_names, identifier, unique


@pytest.mark.parametrize(
    "names",
    [
        ["GTV+", "GTV-", "GTV", "gtv", "GTV/"],
        ["kidney", "Kidney", "KIDNEY ", "kidney-2"],
        ["..", "../..", "/", "", "…", "***", "."],
        ["CON", "nul", "com1.txt", "LPT9", "aux."],
        ["a" * 300, "a" * 299, "a" * 300 + "b"],
        ["Straße", "STRASSE", "e\u0301", "\u00e9", "ﬁbula", "fibula"],
        ["left:kidney", "left*kidney", 'left"kidney', "left\nkidney", "left\0kidney"],
    ],
)
def test_segments_of_any_names_get_folders_of_their_own(tmp_path: Path, names: list[str]) -> None:
    folders = folder_names(names)
    assert len({name.casefold() for name in folders}) == len(names)
    for name in folders:
        assert not set(name) & set('/\\:*?"<>|\0\n')
        assert name.strip(". ") == name != ""
        assert name.split(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}
        (tmp_path / name).mkdir()


def test_identifiers_are_unique_also_where_a_number_is_taken() -> None:
    assert unique([identifier(name, 1) for name in ("GTV+", "GTV-", "gtv 2", "GTV")]) == [
        "gtv",
        "gtv-2",
        "gtv-2-2",
        "gtv-3",
    ]
    assert unique(["explained"], ["kidney", "explained"]) == ["explained-2"]
    assert [identifier("+", 1), identifier("-", 2)] == ["segment-1", "segment-2"]
