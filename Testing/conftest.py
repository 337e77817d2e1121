"""What every room's tests share."""

from __future__ import annotations

import gc
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from orthanc import Orthanc, running_orthanc
from real_data import unpack_kidney_ct
from sshd import Server, know_host, running_sshd
from xdist.scheduler import LoadScopeScheduling

from SegHiResCAMLib.kept_memory import keep_memory

TOGETHER = (
    *("panel/test_real_ct.py", "panel/", "module/", "worker/", "installation/", "docs/", "study/", "pages/"),
    *(
        "engine/test_real_networks.py",
        "engine/test_bundle_configs.py",
        "engine/test_converted_cut.py",
        "engine/test_nnunet.py",
        "engine/test_phantom.py",
    ),
)
"""Rooms and files whose fixtures take seconds or minutes: a desktop, a worker, a Python, a cluster, a browser, what a network outlines."""

NEEDS_TORCH = re.compile(
    r"^(?:from|import) (?:torch|monai|SegHiResCAMLib\.(?:engine|demo|explain_files|results|study))\b"
    r"|^pytestmark = [^=]*?\bpytest\.mark\.engine\b",
    re.MULTILINE,
)
"""What a file imports, or says of all its tests, that --without-torch leaves out before it is imported."""

SLOW = (
    *("docs/", "installation/", "pages/", "panel/", "study/", "worker/", "dicomweb/", "writing/test_results.py"),
    *("cli/test_cli.py", "cli/test_compare_models_command.py", "cli/test_dicomweb.py", "cli/test_on.py"),
    *("cli/test_regions.py", "cli/test_streams.py", "cli/test_what_if_command.py", "cli/test_writing.py"),
    *("module/test_kept_memory.py", "module/test_lean_monai.py", "module/test_logic.py", "module/test_slicer_tests.py"),
    *(
        "engine/test_attention.py",
        "engine/test_bundle_configs.py",
        "engine/test_check.py",
        "engine/test_converted_cut.py",
    ),
    *("engine/test_dicom_hostile.py", "engine/test_fuzz.py", "engine/test_hostile_weights.py", "engine/test_layers.py"),
    *("engine/test_nnunet.py", "engine/test_phantom.py", "engine/test_torchscript.py", "engine/test_models.py"),
    *("engine/test_auto3dseg.py", "engine/test_catalogue.py", "engine/test_describe.py", "engine/test_inputs.py"),
    *(
        "engine/test_integrated.py",
        "engine/test_out_of_memory.py",
        "engine/test_smooth.py",
        "engine/test_weights_matching.py",
    ),
)
"""Rooms and files that --fast leaves out: they train, start processes, servers and browsers, or try a great many inputs."""

LEFT_OUT = {"real_data": "fast", "engine": "without_torch"}
"""Marks, and the option that leaves out what has them."""


class InGroups(LoadScopeScheduling):
    """Tests run wherever there is time, those of a group one after the other in one process, which makes their fixtures once."""

    def _split_scope(self, nodeid: str) -> str:
        inside = nodeid.removeprefix("Testing/")
        return next((group for group in TOGETHER if inside.startswith(group)), nodeid)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fast", action="store_true", help="what to run after every edit: no real data, no training, no processes"
    )
    parser.addoption(
        "--without-torch", action="store_true", help="what 3D Slicer's own process runs, where torch is not"
    )


def pytest_configure() -> None:
    """Commands that tests cancel inherit how Ctrl-C is met: whoever runs the tests in the background of a script has told them to ignore it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    keep_memory()  # as the command and the worker do; it saves half of the system's time
    # Or walking through all that tests have imported takes a twentieth of their time.
    gc.set_threshold(100_000, 50, 100)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    inside = collection_path.relative_to(Path(__file__).parent).as_posix()
    if config.getoption("fast") and f"{inside}/".startswith(SLOW):
        return True
    if config.getoption("without_torch") and collection_path.suffix == ".py":
        return bool(NEEDS_TORCH.search(collection_path.read_text(encoding="utf-8"))) or None
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    without = {mark for mark, option in LEFT_OUT.items() if config.getoption(option)}
    needing = [item for item in items if any(item.get_closest_marker(mark) for mark in without)]
    config.hook.pytest_deselected(items=needing)
    items[:] = [item for item in items if item not in needing]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Groups by name: pytest-xdist's own, by marks, are none since pytest 9.2 (pytest-xdist #1386)."""
    return InGroups(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cache of this run, for all its processes: what an earlier version converted, or the user has, is of no use to a test."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    os.environ["SEGHIRESCAM_CACHE"] = str(folder / "cache")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real volumes and networks. Unset: skip and say so. Set but absent: fail, so that CI cannot skip by mistake."""
    folder = os.environ.get("SEGHIRESCAM_TEST_DATA")
    if not folder:
        pytest.skip("SEGHIRESCAM_TEST_DATA is not set: it names the folder of real volumes and networks")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"SEGHIRESCAM_TEST_DATA is {folder}, which is no folder")
    return path


@pytest.fixture(scope="session")
def kidney_case(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kidney CT and its expert masks, PATIENT_DICOM and MASKS_DICOM, unpacked once for all processes of a run: not to be changed."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "kidney-case"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            unpack_kidney_ct(test_data, folder.with_name("unpacking")).rename(folder)
    return folder


@pytest.fixture(scope="session")
def viewer() -> None:
    """The viewer of the pages, which is fetched by npm when the package is installed; a checkout may do without."""
    from SegHiResCAMLib.pages.self_contained import PageError, check_pages

    try:
        check_pages()
    except PageError as problem:
        (pytest.fail if "SEGHIRESCAM_REQUIRE_BROWSER" in os.environ else pytest.skip)(problem.message)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An SSH server of the tests' own."""
    with running_sshd(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture
def server(sshd: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server, and an `ssh` on PATH that knows it."""
    monkeypatch.setenv("PATH", f"{sshd.folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    yield sshd
    sshd.relay.cut_up = sshd.relay.cut_down = sshd.relay.bytes_per_second = None
    know_host(sshd.folder)


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """A PACS of the tests' own."""
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server
