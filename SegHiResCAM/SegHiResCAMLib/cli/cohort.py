"""Explain the cases of a study; bring its parts together; say what is missing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from SegHiResCAMLib.cli.application import Commands, app
from SegHiResCAMLib.cli.console import answer, job, note, print_files, print_json, told
from SegHiResCAMLib.cli.explain import AsNifti, Check, Compare, RegionsFile, Seed, Segments, ShareInputs
from SegHiResCAMLib.cli.options import INPUT, RESULTS, JsonOption, ModelOption, utf_8_only
from SegHiResCAMLib.cli.plain_console import Cell, heading
from SegHiResCAMLib.cli.question_options import with_options
from SegHiResCAMLib.records.explain_job import ExplainJob
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.records.question import WHERE, Question

if TYPE_CHECKING:
    from SegHiResCAMLib.study.cases import FoundCases
    from SegHiResCAMLib.study.cohort import CohortResult
    from SegHiResCAMLib.study.study_folder import StudyState

RUN = "run"
"""The command that stands for `cohort` itself."""

CANCELLED = "Cancelled. The cases that are done are kept: the same command continues."

MISSING_EXTRA = "Studies need further packages. Install them with: pip install 'seghirescam[cohort]'"

MOST_LISTED = 20
"""Cases that are shown of each kind."""

_SIZES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


class CohortCommands(Commands):
    """`cohort INPUT` runs a study; `cohort merge`, `cohort status` and `cohort bids` are about one that there is."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """The arguments, with the name of the command that they are for."""
        named = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if named else [RUN, *args])


cohort_app = typer.Typer(cls=CohortCommands, rich_markup_mode="rich")
app.add_typer(
    cohort_app,
    name="cohort",
    help="Explain every case of a table or folder: one row a case, resumable, on many processes; 'cohort merge', 'cohort status', 'cohort bids'.",
)

CasesArgument = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="Table (CSV, Parquet; columns case, image[, image_2 ..][, reference][, regions][, group ..]; - for standard input), or a "
        "folder: KiTS, raw data of nnU-Net, Medical Segmentation Decathlon, BIDS, DICOM.",
    ),
]
StudyArgument = Annotated[
    Path, typer.Argument(metavar="STUDY", help="Folder of the study, as 'seghirescam cohort -o' named it.")
]
Study = Annotated[
    Path,
    typer.Option(
        "-o", "--output", metavar="STUDY", callback=utf_8_only, help="Folder for the study.", rich_help_panel=RESULTS
    ),
]
Part = Annotated[
    str | None,
    typer.Option(
        metavar="K/N", help="Only the K-th of N parts, for array jobs; then 'cohort merge'.", rich_help_panel=INPUT
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the cases that were found and what is wrong with them; compute nothing.")
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Try cases again that failed.", rich_help_panel=WHERE)
]
NoScene = Annotated[
    bool,
    typer.Option(
        "--no-scene",
        help="Without figures and scenes for 3D Slicer, which take most of the space.",
        rich_help_panel=RESULTS,
    ),
]
NoPages = Annotated[
    bool, typer.Option("--no-pages", help="Without a page for the browser for each case.", rich_help_panel=RESULTS)
]
HashNames = Annotated[
    Path | None,
    typer.Option(
        metavar="KEYFILE",
        help="Put hashes in place of the names of cases, everywhere, with the secret key in this file; it is made if it does not exist.",
        rich_help_panel=INPUT,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Processes; default: one a GPU, or as many as memory and cores allow.",
        rich_help_panel=WHERE,
    ),
]
WorkerMemory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Memory of a process, such as 8G; default: an equal share.", rich_help_panel=WHERE
    ),
]
SchedulerAddress = Annotated[
    str | None,
    typer.Option(
        "--scheduler", metavar="URL", help="A running Dask scheduler: tls://HOST:PORT.", rich_help_panel=WHERE
    ),
]
TlsConfig = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Certificates for it, as Dask's configuration lists them (YAML).", rich_help_panel=WHERE
    ),
]


@cohort_app.command(
    RUN, hidden=True, epilog="Example: seghirescam cohort kits23/dataset --model my-bundle --segment tumour -o study"
)
@with_options(Question)
def run(
    source: CasesArgument,
    model: ModelOption,
    segment: Segments,
    output: Study,
    compare: Compare = None,
    regions: RegionsFile = None,
    check: Check = False,
    input_shares: ShareInputs = False,
    seed: Seed = 0,
    part: Part = None,
    hash_names: HashNames = None,
    dry_run: DryRun = False,
    retry_failed: RetryFailed = False,
    nifti: AsNifti = False,
    no_scene: NoScene = False,
    no_pages: NoPages = False,
    workers: Workers = None,
    worker_memory: WorkerMemory = None,
    scheduler: SchedulerAddress = None,
    tls_config: TlsConfig = None,
    as_json: JsonOption = False,
    *,
    chosen: dict[str, Any],
) -> None:
    """Explain every case of a table or folder. What is done already is kept, so the same command continues after an interruption."""
    numbers, memory = _part_of(part), _bytes_of(worker_memory)
    with job(CANCELLED) as progress:
        _check_packages()
        from SegHiResCAMLib.study.cases import find_cases
        from SegHiResCAMLib.study.cohort import CohortRequest, run_cohort
        from SegHiResCAMLib.study.hashed_names import read_key
        from SegHiResCAMLib.study.processes import Processes

        progress(0.0, "Looking for cases")
        found = find_cases(source, None if hash_names is None else read_key(hash_names, output))
        if not dry_run:
            asked = ExplainJob(
                volumes=(),
                model=model,
                segments=tuple(segment),
                question=Question(segment=segment[0], **chosen),
                compare=tuple(compare or ()),
                regions=regions,
                check=check,
                input_shares=input_shares,
                seed=seed,
                nifti=nifti,
                html=not no_pages,
            )
            processes = Processes(workers, memory, scheduler, tls_config)
            with_scene = not no_scene and _can_draw()
            request = CohortRequest(source, found, asked, output, numbers, retry_failed, with_scene, processes)
            result = run_cohort(request, progress)
    if dry_run:
        _print_found(found, as_json)
        return
    _print_result(result, [], as_json)
    if result.state.failed and not result.state.done:
        raise typer.Exit(1)


def _can_draw() -> bool:
    from SegHiResCAMLib.scene.headless import missing_packages

    missing = missing_packages()
    if missing:
        note("Not written", f"figures and scenes. {missing}", told)
    return not missing


@cohort_app.command(epilog="Example: seghirescam cohort merge study")
def merge(study: StudyArgument, as_json: JsonOption = False) -> None:
    """Bring the parts of a study together in one table."""
    with job():
        _check_packages()
        from SegHiResCAMLib.study.cohort import merge_study, study_state

        result = merge_study(study)
        _, parts = study_state(study)
    _print_result(result, parts, as_json)


@cohort_app.command(epilog="Example: seghirescam cohort status study")
def status(study: StudyArgument, as_json: JsonOption = False) -> None:
    """Show how far a study is: what is done, what failed, what is missing."""
    with job():
        _check_packages()
        from SegHiResCAMLib.study.cohort import study_state

        state, parts = study_state(study)
    _print_state(state, parts, as_json, {})


@cohort_app.command(epilog="Example: seghirescam cohort bids study -o derivatives/seghirescam")
def bids(
    study: StudyArgument,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="DIR", help="Folder for the derivative; it is empty or does not exist."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Write the segmentations and heat maps of a study as a BIDS derivative."""
    with job() as progress:
        _check_packages()
        from SegHiResCAMLib.study.bids_derivative import write_bids

        written = write_bids(study, output, progress)
    if as_json:
        print_json({"folder": str(written.folder), "cases": written.cases, "left_out": written.left_out})
        return
    left_out = f"; {written.left_out} without results are left out" if written.left_out else ""
    answer.print(f"{written.cases} cases in '{written.folder}'{left_out}.")


def _check_packages() -> None:
    """Refuse without the packages of the extra, before anything is looked for."""
    try:
        import distributed  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as problem:
        from SegHiResCAMLib.study.errors import StudyError

        raise StudyError("packages-missing", MISSING_EXTRA) from problem


def _part_of(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise typer.BadParameter(f"'{text}' is not a part such as 2/8, the second of eight.", param_hint="--part")
    return int(found[1]), int(found[2])


def _bytes_of(text: str | None) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if not found or float(found[1]) <= 0:
        raise typer.BadParameter(f"'{text}' is not a size such as 8G or 800M.", param_hint="--worker-memory")
    return int(float(found[1]) * _SIZES[found[2]])


def _print_found(found: FoundCases, as_json: bool) -> None:
    if as_json:
        listed = (to_json(one) | {"problem": found.problems.get(one.name, "")} for one in found.cases)
        facts = [{key: value for key, value in one.items() if key != "salt"} for one in listed]
        print_json({"layout": found.layout, "cases": facts})
        return
    is_hashed = any(case.own_name for case in found.cases)
    titles = ("case", *(["in the study"] if is_hashed else []), "images", "reference", "regions", "groups", "problem")
    rows: list[list[Cell]] = [heading(*titles)]
    for case in found.cases:
        groups = ", ".join(f"{name} {value}" for name, value in case.groups.items() if value)
        has = ("yes" if one else "-" for one in (case.reference, case.regions))
        names: list[Cell] = [(case.own_name, "bold"), case.name] if case.own_name else [(case.name, "bold")]
        rows.append([*names, str(len(case.images)), *has, groups or "-", found.problems.get(case.name, "")])
    answer.print_rows(rows)
    answer.print()
    count = len(found.problems)
    wrong = f"; {count} {'has' if count == 1 else 'have'} a problem" if count else ""
    answer.print(f"{len(found.cases)} cases ({found.layout}){wrong}. Nothing was computed.")


def _print_result(result: CohortResult, parts: list[str], as_json: bool) -> None:
    facts = {"computed": result.computed, "files": [str(one) for one in result.files]}
    _print_state(result.state, parts, as_json, facts)
    if not as_json:
        print_files(result.files)


def _print_state(state: StudyState, parts: list[str], as_json: bool, more: dict[str, Any]) -> None:
    failed = {name: one.message for name, one in state.failed.items()}
    if as_json:
        facts = {"cases": len(state.cases), "done": list(state.done), "failed": failed, "missing": list(state.missing)}
        print_json(facts | {"missing_parts": parts} | more)
        return
    for name, message in list(failed.items())[:MOST_LISTED]:
        note(f"Failed: {name}", message)
    for name in state.missing[:MOST_LISTED]:
        note("Missing", name)
    left = len(failed) + len(state.missing) - min(len(failed), MOST_LISTED) - min(len(state.missing), MOST_LISTED)
    if left:
        answer.print(f"and {left} more; --json lists all of them.")
    for part in parts:
        note("Missing", f"part {part}")
    answer.print(
        f"{len(state.cases)} cases: {len(state.done)} done, {len(failed)} failed, {len(state.missing)} missing."
    )
