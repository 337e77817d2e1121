"""The similarity of each case's map with that of the next case, from files that the cases' processes leave; whatever the parts of a study were."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from monai.data import MetaTensor

from SegHiResCAMLib.engine import EngineError
from SegHiResCAMLib.engine.answer.explanation import Explanation
from SegHiResCAMLib.engine.evidence.between_cases import POINTS, map_around, similarity_between
from SegHiResCAMLib.engine.images.volume import read_volume, write_volume
from SegHiResCAMLib.naming import folder_names
from SegHiResCAMLib.records.study import CaseOutcome, Cell
from SegHiResCAMLib.study.study_folder import Study, StudyState, small_text
from SegHiResCAMLib.writing.commit import FACTS

AROUND, COLUMN = "around.nrrd", "similarity_to_next_case"


def keep_around(folder: Path, explanations: list[Explanation]) -> None:
    """Write what `with_similarities` compares, for each segment beside its map."""
    names = folder_names([one.label.name for one in explanations])
    folders = [folder] if len(explanations) == 1 else [folder / name for name in names]
    for place, explanation in zip(folders, explanations, strict=True):
        around = map_around(explanation)
        if around is not None:
            write_volume(around, place / AROUND)


def with_similarities(study: Study, state: StudyState) -> StudyState:
    """The rows of cases that are done, each with the similarity of its map to the next one's; the last one's is to the first one's."""
    done = [state.done[one.name] for one in state.cases if one.name in state.done]
    if len(done) < 2:
        return state
    found: dict[str, CaseOutcome] = {}
    first = before = dict(_maps(study, done[0]))
    for number, outcome in enumerate(done, start=1):
        after = dict(_maps(study, done[number])) if number < len(done) else first
        found[outcome.case] = replace(outcome, row={**outcome.row, **_similarities(before, after)})
        before = after
    return replace(state, done=found)


def _similarities(maps: Mapping[str, MetaTensor], others: Mapping[str, MetaTensor]) -> dict[str, Cell]:
    return {
        f"{segment}{COLUMN}": similarity_between(one, others[segment])
        for segment, one in maps.items()
        if segment in others
    }


def _maps(study: Study, outcome: CaseOutcome) -> Iterator[tuple[str, MetaTensor]]:
    """By what stands before the names of a segment's columns."""
    folder = study.folder_of(outcome.case)
    alone = folder / AROUND
    for path in [alone] if alone.is_file() else sorted(folder.glob(f"*/{AROUND}")):
        try:
            facts = json.loads(small_text(path.parent / FACTS) or "")
            segment = str(facts["question"]["segment"])
            around = read_volume(path)
        except (EngineError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if tuple(around.shape) == (1, POINTS, POINTS, POINTS):
            yield "" if path == alone else f"{segment}.", around
