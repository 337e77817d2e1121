"""How much memory a process may take, where a container or a batch system bounds it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from SegHiResCAMLib.engine import free_memory as rules
from SegHiResCAMLib.engine.free_memory import free_memory

pytestmark = pytest.mark.engine
MIB = 2**20
"""So little that this computer has more."""


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(rules, "CONTROL_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(rules, "OWN_GROUPS", tmp_path / "own")
    return tmp_path


def put(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_0_", ".")).write_text(f"{content}\n", encoding="utf-8")


@pytest.mark.parametrize("own", ["/slurm/job_7/step_0", "/"])
def test_a_job_of_cgroup_version_2_may_take_what_the_narrowest_group_leaves(groups: Path, own: str) -> None:
    put(groups, own=f"0::{own}")
    put(groups / "groups", memory_0_max=9 * MIB, memory_0_current=2 * MIB)
    put(groups / "groups/slurm/job_7", memory_0_max=5 * MIB, memory_0_current=MIB)
    put(groups / "groups/slurm/job_7/step_0", memory_0_max="max", memory_0_current=MIB)
    assert free_memory() == (7 if own == "/" else 4) * MIB


def test_a_job_of_cgroup_version_1_may_take_what_its_group_leaves(groups: Path) -> None:
    put(groups, own="9:name=systemd:/\n4:cpu,memory:/slurm/job_7\n0::/")
    put(groups / "groups/memory/slurm/job_7", memory_0_limit_in_bytes=5 * MIB, memory_0_usage_in_bytes=2 * MIB)
    put(groups / "groups/memory", memory_0_limit_in_bytes=2**63 - 4096, memory_0_usage_in_bytes=2 * MIB)
    assert free_memory() == 3 * MIB


def test_a_container_that_does_not_see_its_own_group_counts_what_it_sees(groups: Path) -> None:
    put(groups, own="4:memory:/docker/0123")
    put(groups / "groups/memory", memory_0_limit_in_bytes=5 * MIB, memory_0_usage_in_bytes=MIB)
    assert free_memory() == 4 * MIB


@pytest.mark.parametrize(
    ("own", "folder", "key"), [("0::/", "", "inactive_file"), ("4:memory:/", "memory", "total_inactive_file")]
)
def test_pages_of_files_that_were_read_are_free(groups: Path, own: str, folder: str, key: str) -> None:
    put(groups, own=own)
    names = ("memory_0_limit_in_bytes", "memory_0_usage_in_bytes") if folder else ("memory_0_max", "memory_0_current")
    stat = f"anon {MIB}\n{key} {8 * MIB}"
    put(groups / "groups" / folder, **dict(zip(names, (10 * MIB, 10 * MIB), strict=True)), memory_0_stat=stat)
    assert free_memory() == 8 * MIB


@pytest.mark.parametrize("own", ["", "0::/gone", "rubbish", "0::/../.."])
def test_without_a_bound_it_is_what_the_system_has(groups: Path, own: str) -> None:
    put(groups, own=own)
    put(groups / "groups", memory_0_max="max", memory_0_current=MIB)
    assert free_memory() > psutil.virtual_memory().total * 0.01
