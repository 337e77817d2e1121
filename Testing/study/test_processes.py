"""How many processes compute, and with how many threads each."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from study.remote_cluster import ENVIRONMENT

pytestmark = pytest.mark.engine

ASKED = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from SegHiResCAMLib.study.processes import Processes, _sizes
print(_sizes(Processes(memory=1), 0)[0])
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_workers_are_no_more_than_the_cores_that_a_job_may_use() -> None:
    answer = subprocess.run([sys.executable, "-c", ASKED], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "1"
