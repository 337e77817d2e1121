"""A study of twenty cases: in parts, killed in the middle, on a cluster over TLS. Whatever happens, maps and table are the same bytes."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from scipy.stats import spearmanr
from study.certificates import write_certificates
from study.remote_cluster import ENVIRONMENT, SOON, Remote, wait_until
from tiny_bundle import noise, write_tiny_bundle, write_two_channel_bundle
from typer.testing import CliRunner

from SegHiResCAMLib.cli import app
from SegHiResCAMLib.engine.images.volume import write_volume
from SegHiResCAMLib.pages import self_contained
from SegHiResCAMLib.records.explain_job import ExplainJob
from SegHiResCAMLib.records.question import Question
from SegHiResCAMLib.study import cohort
from SegHiResCAMLib.study.cases import find_cases
from SegHiResCAMLib.study.cohort import CohortRequest, run_cohort
from SegHiResCAMLib.study.processes import SETTINGS, Cluster, Processes, cluster_of

CASES = 20
COMMAND = [sys.executable, "-m", "SegHiResCAMLib", "cohort"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes a while, and a table of cases: one is damaged, one is not there."""
    folder = tmp_path_factory.mktemp("cohort")
    write_tiny_bundle(folder / "model", overlap=0.9)
    rows = ["case,image,reference,hospital"]
    for number in range(CASES - 2):
        values = torch.from_numpy(noise((20, 18, 16)))[None] * (1 + 0.05 * number)
        write_volume(
            MetaTensor(values, affine=torch.diag(torch.tensor([1.0, 1, 2, 1])).double()), folder / f"{number}.nrrd"
        )
        rows.append(f"case {number},{number}.nrrd,{'truth.nrrd' if number == 3 else ''},{'AB'[number % 2]}")
    truth = MetaTensor(torch.ones(1, 20, 18, 16), affine=torch.diag(torch.tensor([1.0, 1, 2, 1])).double())
    write_volume(truth.to(torch.uint8), folder / "truth.nrrd")
    (folder / "damaged.nrrd").write_bytes(b"NRRD0004\nrubbish")
    (folder / "cases.csv").write_text(
        "\n".join([*rows, "damaged,damaged.nrrd,,A", "lost,lost.nrrd,,B"]), encoding="utf-8"
    )
    return folder


def arguments(inputs: Path, study: Path, *more: object) -> list[str]:
    given = [
        inputs / "cases.csv",
        "-m",
        inputs / "model",
        "-s",
        "kidney",
        "-o",
        study,
        "--no-scene",
        "--no-pages",
        "--workers",
        1,
    ]
    return [str(one) for one in [*given, *more]]


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["cohort", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def results(study: Path) -> dict[str, str]:
    """Hashes of all maps and of the table."""
    files = [*study.glob("cases/*/*.nrrd"), study / "cases.csv", study / "cases.parquet"]
    return {one.relative_to(study).as_posix(): hashlib.sha256(one.read_bytes()).hexdigest() for one in sorted(files)}


def rows(study: Path) -> list[dict[str, str]]:
    with (study / "cases.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def ended(study: Path) -> int:
    return len(list(study.glob("cases/*/explanation.json")))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """Two workers that are there for all tests: to start one takes longer than to compute a case."""
    remote = Remote(tmp_path_factory.mktemp("cluster"), workers=2)
    yield remote
    remote.kill()


@pytest.fixture(scope="module")
def whole(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study in one run."""
    study = tmp_path_factory.mktemp("whole") / "study"
    code, _, err = run(*arguments(inputs, study))
    assert code == 0, err
    return study


def test_every_case_is_a_row_and_one_that_fails_says_why(whole: Path) -> None:
    found = rows(whole)
    assert [one["case"] for one in found] == [*(f"case {number}" for number in range(CASES - 2)), "damaged", "lost"]
    assert [one["status"] for one in found] == ["done"] * (CASES - 2) + ["failed"] * 2
    assert "header has a line that is neither a field nor a key" in found[-2]["message"]
    assert "does not exist" in found[-1]["message"]
    assert [one["hospital"] for one in found[:2]] == ["A", "B"]


def test_the_numbers_of_a_row_are_those_of_the_explanation(whole: Path) -> None:
    import pyarrow.parquet

    table = {one["case"]: one for one in pyarrow.parquet.read_table(whole / "cases.parquet").to_pylist()}
    for folder in whole.glob("cases/case-3-*"):
        facts = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    row = table["case 3"]
    assert (row["score"], row["voxel_count"]) == (facts["score"], facts["voxel_count"])
    assert [row[f"peak_{axis}_mm"] for axis in "ras"] == facts["peak_ras_mm"]
    assert row["share_within_5_mm"] == facts["measurements"]["share_within_5_mm"]
    assert row["volume_ml.kidney"] == pytest.approx(facts["voxel_count"] * 2 / 1000, rel=1e-12)
    assert row["findings"].split() == [one["code"] for one in facts["findings"]]


def test_dice_is_two_overlaps_over_the_sum_where_there_is_a_reference(whole: Path) -> None:
    found = {one["case"]: one for one in rows(whole)}
    kidney, total = float(found["case 3"]["volume_ml.kidney"]), 20 * 18 * 16 * 2 / 1000
    assert float(found["case 3"]["reference_ml.kidney"]) == pytest.approx(total, rel=1e-12)
    assert float(found["case 3"]["dice.kidney"]) == pytest.approx(2 * kidney / (kidney + total), rel=1e-12)
    assert "dice.tumour" not in found["case 3"], "the reference has no tumour"
    assert found["case 4"]["dice.kidney"] == ""


def test_a_second_start_computes_nothing_and_changes_nothing(whole: Path, inputs: Path) -> None:
    before = results(whole)
    code, out, _ = run(*arguments(inputs, whole, "--json"))
    assert (code, json.loads(out)["computed"]) == (0, 0)
    assert results(whole) == before


def test_a_dry_run_shows_what_was_found_and_writes_nothing(inputs: Path, tmp_path: Path) -> None:
    code, out, _ = run(*arguments(inputs, tmp_path / "study", "--dry-run"))
    assert code == 0
    assert "20 cases (table); 1 has a problem. Nothing was computed." in out
    assert not (tmp_path / "study").exists()


def test_two_parts_equal_one_run_wherever_they_are_computed(
    whole: Path, cluster: Remote, inputs: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    assert run(*arguments(inputs, study, "--part", "1/2", *cluster.options))[0] == 0
    _, out, _ = run("status", study)
    assert "part 2/2" in out
    assert run(*arguments(inputs, study, "--part", "2/2", *cluster.options))[0] == 0
    assert run("merge", study)[0] == 0
    assert results(study) == results(whole)
    state = json.loads(run("status", study, "--json")[1])
    assert (len(state["done"]), len(state["failed"]), state["missing"], state["missing_parts"]) == (18, 2, [], [])


@pytest.fixture
def started(inputs: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The command in a process of its own, when it has computed a case; a fifth of a second later it has the next one."""
    study = tmp_path / "study"
    with subprocess.Popen(
        [*COMMAND, *arguments(inputs, study)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_until(lambda: ended(study) >= 1 or process.poll() is not None, "a case")
            assert process.poll() is None, process.communicate()
            assert ended(study) < CASES - 2
            yield process, study
        finally:
            process.kill()


def workers_of(pid: int) -> list[psutil.Process]:
    """The processes that compute: all below the command's, but what starts and watches them."""
    below = psutil.Process(pid).children(recursive=True)
    return [one for one in below if any("spawn_main" in part for part in one.cmdline())]


def test_a_killed_worker_is_replaced_and_a_killed_command_loses_no_case(
    started: tuple[subprocess.Popen[str], Path], whole: Path, cluster: Remote, inputs: Path
) -> None:
    process, study = started
    (worker,) = workers_of(process.pid)
    before = ended(study)
    worker.kill()
    wait_until(lambda: ended(study) > before + 1 or process.poll() is not None, "cases of another worker")
    assert process.poll() is None, process.communicate()
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not alive, "processes that compute outlive the command"
    code, out, _ = run(*arguments(inputs, study, "--json", *cluster.options))
    state = json.loads(out)
    assert (code, len(state["done"]), len(state["failed"]), state["missing"]) == (0, 18, 2, [])
    assert results(study) == results(whole)
    assert not list(study.rglob(".seghirescam-*"))


def test_a_cancelled_command_ends_and_keeps_what_is_done(
    started: tuple[subprocess.Popen[str], Path],
) -> None:
    process, study = started
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)  # about two seconds where nothing else computes
    assert process.returncode == 130
    assert "The cases that are done are kept" in (process.stderr.read() if process.stderr else "")
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not alive
    assert ended(study) >= 1


def test_a_killed_scheduler_is_a_message_and_loses_no_case(
    whole: Path, cluster: Remote, inputs: Path, tmp_path: Path
) -> None:
    study, remote = tmp_path / "study", Remote(tmp_path, workers=1)
    try:
        with subprocess.Popen(
            [*COMMAND, *arguments(inputs, study), *remote.options],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            wait_until(lambda: ended(study) >= 1 or process.poll() is not None, "a case")
            remote.processes[0].kill()
            _, err = process.communicate(timeout=SOON)
            assert process.returncode == 1
            assert "The connection to the scheduler was lost" in " ".join(err.split())
            assert "start the same command again" in " ".join(err.split())
        assert ended(study) < CASES - 2
    finally:
        remote.kill()
    code, out, err = run(*arguments(inputs, study, *cluster.options, "--json"))
    assert code == 0, err
    assert json.loads(out)["missing"] == []
    assert results(study) == results(whole)


def request_of(names: str, inputs: Path, folder: Path, processes: Processes) -> CohortRequest:
    """A study in `folder` of cases with names of one letter."""
    table = folder / "cases.csv"
    rows = [f"{name},{inputs / f'{number}.nrrd'}" for number, name in enumerate(names)]
    table.write_text("\n".join(["case,image", *rows]), encoding="utf-8")
    job = ExplainJob(volumes=(), model=str(inputs / "model"), segments=("kidney",), question=Question(segment="kidney"))
    found = find_cases(str(table))
    return CohortRequest(str(table), found, job, folder / "study", with_scene=False, processes=processes)


def test_a_scheduler_that_has_lost_its_workers_is_said_to_have_none_and_goes_on_with_another(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohort, "PATIENCE_S", 0.2)
    remote, said = Remote(tmp_path, workers=1), []

    def progress(_share: float, text: str) -> None:
        if "No worker" in text and not said:
            remote.add_worker()
        said.extend([text] if "No worker" in text else [])

    @contextmanager
    def losing(chosen: Processes) -> Iterator[Cluster]:
        with cluster_of(chosen) as connected:
            remote.processes[-1].kill()
            wait_until(lambda: connected.workers() == 0, "the worker's end")
            yield connected

    monkeypatch.setattr(cohort, "cluster_of", losing)
    processes = Processes(scheduler=remote.address, tls_config=str(remote.config))
    try:
        result = run_cohort(request_of("a", inputs, tmp_path, processes), progress)
    finally:
        remote.kill()
    assert said, "nobody was told that there is no worker"
    assert list(result.state.done) == ["a"]


def test_an_embedded_cluster_whose_processes_do_not_come_back_is_replaced(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohort, "PATIENCE_S", 0.2)
    monkeypatch.setattr(cohort, "RESTARTING_S", 0.5)
    clusters = []

    @contextmanager
    def losing(chosen: Processes) -> Iterator[Cluster]:
        """Loses its worker once a case is done; the second one does not."""
        with cluster_of(chosen) as connected:
            clusters.append(connected)
            yield connected

    def progress(_share: float, text: str) -> None:
        if text.startswith("1 of 2") and len(clusters) == 1:
            clusters[0].client.cluster.scale(0)
            wait_until(lambda: clusters[0].workers() == 0, "the worker's end")

    monkeypatch.setattr(cohort, "cluster_of", losing)
    request = request_of("ab", inputs, tmp_path, Processes(workers=1))
    assert list(run_cohort(request, progress).state.done) == ["a", "b"]
    assert len(clusters) == 2


def test_a_worker_that_ends_between_its_answer_and_the_fetching_is_replaced(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_one_ready, lost = cohort._is_one_ready, []

    def is_one_lost(running: Any) -> bool:
        ready = is_one_ready(running)
        if ready and not lost:
            lost.append(running.queue.queue[0])
            for worker in workers_of(os.getpid()):
                worker.kill()
            wait_until(lambda: lost[0].status == "lost", "the answer's loss")
        return ready

    monkeypatch.setattr(cohort, "_is_one_ready", is_one_lost)
    request = request_of("a", inputs, tmp_path, Processes(workers=1))
    assert list(run_cohort(request, lambda _share, _text: None).state.done) == ["a"]
    assert lost


def test_pages_that_cannot_be_made_are_refused_before_anything_is_computed(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_contained, "resource", lambda *_names: tmp_path / "nothing")
    monkeypatch.setattr(self_contained, "__file__", str(tmp_path / "a/b/c/d.py"))
    given = [one for one in arguments(inputs, tmp_path / "study") if one != "--no-pages"]
    code, _, err = run(*given)
    assert (code, "has no viewer for pages" in err) == (1, True)
    assert not list(tmp_path.glob("study/cases/*"))


def test_a_client_without_a_certificate_of_the_authority_is_refused(
    cluster: Remote, inputs: Path, tmp_path: Path
) -> None:
    stranger = write_certificates(tmp_path / "elsewhere")
    to = ["--scheduler", cluster.address]
    code, _, err = run(*arguments(inputs, tmp_path / "study", *to, "--tls-config", stranger))
    assert code == 1
    assert f"No connection to {cluster.address}" in err
    assert run(*arguments(inputs, tmp_path / "study", *to))[0] == 1
    assert not list((tmp_path / "study").glob("cases/*/explanation.json"))


def test_whoever_has_no_certificate_gets_no_answer_of_the_scheduler(cluster: Remote) -> None:
    """Not by way of the command: an own TLS client that trusts the scheduler, with and without a certificate of its own."""
    name = cluster.config.with_suffix("")
    host, _, port = cluster.address.removeprefix("tls://").rpartition(":")

    def answer(*, certified: bool) -> bytes:
        context = ssl.create_default_context(cafile=f"{name}-ca.pem")
        context.check_hostname = False  # as Dask has it: the authority signs for this cluster alone
        if certified:
            context.load_cert_chain(f"{name}.pem", f"{name}.key")
        with socket.create_connection((host, int(port)), timeout=30) as plain, context.wrap_socket(plain) as secure:
            return secure.recv(8)

    assert answer(certified=True)
    with pytest.raises(OSError, match=r"(?i)certificate required|handshake failure|reset"):
        answer(certified=False)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "127.0.0.1:8786", "ws://host:1", "inproc://x"])
def test_a_scheduler_without_tls_is_refused_with_the_reason(inputs: Path, tmp_path: Path, address: str) -> None:
    code, _, err = run(*arguments(inputs, tmp_path / "study", "--scheduler", address))
    assert code == 1
    assert "is not a TLS address. Whoever reaches a scheduler without certificates can run code on its workers" in err


def test_a_case_too_large_for_a_worker_is_a_message(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SETTINGS, "distributed.scheduler.allowed-failures", 0)  # each takes a process with it
    table = tmp_path / "one.csv"
    write_volume(MetaTensor(torch.zeros(1, 400, 400, 400), affine=torch.eye(4).double()), tmp_path / "large.nrrd")
    table.write_text(f"case,image\nlarge,large.nrrd\nsmall,{inputs / '0.nrrd'}\n", encoding="utf-8")
    given = arguments(inputs, tmp_path / "study", "--worker-memory", "1800M")
    assert run(table, *given[1:])[0] == 0
    large, small = rows(tmp_path / "study")
    assert (large["status"], small["status"]) == ("failed", "done")
    assert "memory" in large["message"]


def test_a_changed_image_is_computed_again_and_a_copy_of_it_is_not(
    cluster: Remote, inputs: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.nrrd").write_bytes((inputs / "0.nrrd").read_bytes())
    (tmp_path / "t.csv").write_text("case,image\na,a.nrrd\n", encoding="utf-8")
    given = [tmp_path / "t.csv", *arguments(inputs, tmp_path / "study", "--json", *cluster.options)[1:]]
    assert run(*given)[0] == 0
    facts = tmp_path / "study/cases/a/explanation.json"
    first = facts.stat().st_mtime_ns
    os.utime(tmp_path / "a.nrrd", (1, 1))
    assert run(*given)[0] == 0
    assert facts.stat().st_mtime_ns == first
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\nrubbish")
    assert run(*given)[0] == 1
    assert not facts.exists(), "a map of another image stands beside the failure"
    assert "FutureWarning" not in cluster.log(), "MONAI has something to say to programmers"


def maps_around(folder: Path) -> list[Path]:
    return [folder / f"study/cases/{name}/around.nrrd" for name in "ab"]


def test_checks_regions_and_shares_of_the_inputs_are_columns_of_each_case(
    cluster: Remote, inputs: Path, tmp_path: Path
) -> None:
    write_two_channel_bundle(tmp_path / "model")
    organs = MetaTensor(torch.zeros(1, 20, 18, 16), affine=torch.diag(torch.tensor([1.0, 1, 2, 1])).double())
    organs[0, :10] = 1
    write_volume(organs.to(torch.uint8), tmp_path / "organs.nrrd")
    images = f"{inputs / '0.nrrd'},{inputs / '1.nrrd'}"
    (tmp_path / "t.csv").write_text(
        f"case,image,image_2,regions\na,{images},organs.nrrd\nb,{images},\n", encoding="utf-8"
    )
    asked = [
        "-m",
        tmp_path / "model",
        "-s",
        "kidney",
        "--check",
        "--input-shares",
        "--regions",
        "model",
        "--smooth",
        "2",
    ]
    given = [*asked, "--no-scene", "--no-pages", *cluster.options, "-o", tmp_path / "study"]
    code, _, err = run(tmp_path / "t.csv", *given)
    assert code == 0, err
    first, second = rows(tmp_path / "study")
    shares = [float(value) for name, value in first.items() if re.fullmatch(r"input_shares\.inputs\..*\.value", name)]
    assert len(shares) == 2
    assert sum(shares) == pytest.approx(
        float(first["input_shares.score_all"]) - float(first["input_shares.score_none"]), rel=1e-3, abs=1e-3
    )
    assert any(name.startswith("check.") and value for name, value in first.items())
    facts = json.loads((tmp_path / "study/cases/a/explanation.json").read_text(encoding="utf-8"))["check"]
    assert float(first["check.forward_passes"]) == facts["forward_passes"]
    assert first["check.weights.similarity"] == "", "is not measured of a smooth map"
    one, other = (sitk.GetArrayFromImage(sitk.ReadImage(study_map)).ravel() for study_map in maps_around(tmp_path))
    both = (one != 0) & (other != 0)
    assert 100 < both.sum() < both.size
    expected = pytest.approx(spearmanr(one[both], other[both]).statistic, abs=1e-12)
    assert [float(row["similarity_to_next_case"]) for row in (first, second)] == [expected, expected]
    names = ("regions.label 1.positive", "regions.kidney.positive")
    assert [[bool(row[name]) for name in names] for row in (first, second)] == [[True, False], [False, True]]


def test_a_study_replaces_neither_its_table_nor_a_file_of_a_case(inputs: Path, tmp_path: Path) -> None:
    table, reference = tmp_path / "cases.csv", tmp_path / "run.json"
    table.write_text(f"case,image\na,{inputs / '0.nrrd'}\n", encoding="utf-8")
    given = table.read_text(encoding="utf-8")
    code, _, err = run(table, *arguments(inputs, tmp_path)[1:])
    assert (code, table.read_text(encoding="utf-8")) == (1, given)
    assert "would overwrite an input" in err
    reference.write_bytes(b"a label map")
    elsewhere = tmp_path / "other.csv"
    elsewhere.write_text(f"case,image,reference\na,{inputs / '0.nrrd'},run.json\n", encoding="utf-8")
    table.unlink()
    code, _, err = run(elsewhere, *arguments(inputs, tmp_path)[1:])
    assert (code, reference.read_bytes()) == (1, b"a label map")
    assert not (tmp_path / "cases").exists()


def test_a_case_whose_folder_cannot_be_written_to_is_a_row_all_the_same(inputs: Path, tmp_path: Path) -> None:
    table, study = tmp_path / "one.csv", tmp_path / "study"
    kept = study / "cases/a/reference.nrrd"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"a label map")
    table.write_text(f"case,image,reference\na,{tmp_path / 'lost.nrrd'},{kept}\n", encoding="utf-8")
    code, _, err = run(table, *arguments(inputs, study)[1:])
    assert (code, kept.read_bytes()) == (1, b"a label map"), err
    (row,) = rows(study)
    assert row["status"] == "failed"
    assert "does not exist" in row["message"]


def test_what_was_left_while_a_result_was_replaced_is_finished_before_it_counts(
    cluster: Remote, inputs: Path, tmp_path: Path
) -> None:
    table, study = tmp_path / "one.csv", tmp_path / "study"
    table.write_text(f"case,image\na,{inputs / '0.nrrd'}\n", encoding="utf-8")
    given = arguments(inputs, study, "--json", *cluster.options)[1:]
    assert run(table, *given)[0] == 0
    left = subprocess.run(
        [sys.executable, "-c", LEAVING, str(study / "cases/a")], env=ENVIRONMENT, check=False, capture_output=True
    )
    assert left.returncode == 9, left.stderr
    assert list((study / "cases/a").glob(".*"))
    assert run(table, *given)[0] == 0
    assert not list((study / "cases/a").glob(".*"))
    assert (study / "cases/a/heatmap.nrrd").read_bytes() == b"new"


LEAVING = """
import os, sys
from pathlib import Path
from SegHiResCAMLib.writing.result import ResultFolder

folder = Path(sys.argv[1])
result = ResultFolder(folder, ["case.json", "heatmap.nrrd"], [], exclusive=False)
for name in ("case.json", "explanation.json"):
    (result.beside / name).write_bytes((folder / name).read_bytes())
(result.beside / "heatmap.nrrd").write_bytes(b"new")
move, moves = Path.replace, []
def replacing(self, target):
    moves.append(target)
    if len(moves) == 3:
        os._exit(9)  # after the plan and one file of the result
    return move(self, target)
Path.replace = replacing
result.put_in_place()
"""
"""Puts a result in place and dies in the middle."""
