"""`python -m SegHiResCAMLib.installation.check` imports everything that the engine needs, one after the other, and says what it found.

It runs in a child process: a broken torch may end the Python that imports it, and 3D Slicer's own process shall never import torch. One JSON object a
line; each import is announced, so that whoever listens knows which one ended it.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from SegHiResCAMLib.installation.packages import OPENVINO, Package, PackageState, installed_version, judge, packages

GPU, NOT_INSTALLED = "NVIDIA GPU, driver, memory", "not installed"
"""Name of a fact, and what is said of an optional package."""


@dataclass(frozen=True)
class Report:
    """What is there.

    Attributes:
        findings: Of each package.
        facts: Of the machine, by name: Python, system, GPU, driver. Nothing of users or patients.
        advice: Messages on what works but could work better.
        offline: pip is told to ask no index, so that packages can only come from a folder, the wheelhouse.
    """

    findings: tuple[PackageState, ...]
    facts: dict[str, str]
    advice: tuple[str, ...] = ()
    offline: bool = False

    @property
    def missing(self) -> list[PackageState]:
        """What is not as it should be."""
        return [finding for finding in self.findings if finding.problem]

    @property
    def is_complete(self) -> bool:
        """Whether the engine can work."""
        return not self.missing


def check_command(python: str) -> list[str]:
    """How the check is started; its working folder is the one that holds SegHiResCAMLib."""
    return [python, "-m", "SegHiResCAMLib.installation.check"]


def read_report(lines: Iterable[str], ended: str = "") -> Report:
    """What a check has said, also where it did not come to its end.

    Args:
        lines: Of its standard output; what is no JSON object (libraries print things) is passed over.
        ended: How the process ended, where not by itself: "signal 4", "no answer for 300 s".
    """
    said: list[dict[str, Any]] = []
    for line in lines:
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict):
            said.append(message)
    versions = next((one["versions"] for one in said if "versions" in one), None) or _versions()
    found = {message["found"]: message for message in said if "found" in message}
    announced = [message["importing"] for message in said if "importing" in message]
    findings = []
    for package in packages():
        message, version = found.get(package.name), versions[package.name]
        if message is not None:
            findings.append(PackageState(package, message["version"], message["problem"], message["broken"]))
        elif announced and package.name == announced[-1]:
            problem = f"cannot be imported: Python ended ({ended or 'without a message'})"
            findings.append(PackageState(package, version, problem, broken=True))
        else:  # never reached: what its metadata says must do
            findings.append(judge(package, version, importable=package.bundled))
    offline = any(message.get("offline", False) for message in said)
    for message in said:
        if "facts" in message:
            return Report(tuple(findings), message["facts"], tuple(message["advice"]), offline)
    return Report(tuple(findings), {}, offline=offline)


def main() -> None:
    """Check, and say so line by line."""
    _say({"versions": _versions()})
    _say({"offline": _is_offline()})
    for package in packages():
        _say({"importing": package.name})
        finding = _try(package)
        _say(
            {
                "found": package.name,
                "version": finding.version,
                "problem": finding.problem,
                "broken": finding.broken,
            }
        )
    facts = _machine()
    advice = _add_device(facts)
    _say({"facts": facts, "advice": advice})


def _versions() -> dict[str, str | None]:
    return {package.name: installed_version(package) for package in packages()}


def _try(package: Package) -> PackageState:
    version = installed_version(package)
    try:
        module = importlib.import_module(package.module)
    except ModuleNotFoundError as problem:
        if problem.name == package.module and version is None:
            return judge(package, None)
        return PackageState(package, version, f"cannot be imported: {_first_line(problem)}", broken=True)
    except BaseException as problem:  # noqa: BLE001 - a library may raise anything at import, or exit
        return PackageState(package, version, f"cannot be imported: {_first_line(problem)}", broken=True)
    if getattr(module, "__file__", None) is None:  # what an uninstalled package leaves behind: a folder without code
        return PackageState(
            package,
            version,
            "is not installed" if version is None else "is installed, but its files are missing",
            version is not None,
        )
    version = version or getattr(module, "__version__", None)
    return judge(package, version, importable=True)


def _is_offline() -> bool:
    """Whether pip's settings, in its files or in the environment, forbid to ask an index."""
    settings = _output([sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"])
    return bool(re.search(r"\.no-index='(1|true|yes|on)'", settings, re.IGNORECASE))


def _machine() -> dict[str, str]:
    facts = {
        "Python": platform.python_version(),
        "System": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Processor cores": str(os.cpu_count()),
        "OpenVINO": installed_version(OPENVINO) or NOT_INSTALLED,
    }
    tool = shutil.which("nvidia-smi")
    if tool:
        fields = "name,driver_version,memory.total"
        told = _output([tool, f"--query-gpu={fields}", "--format=csv,noheader"])
        if told:
            facts[GPU] = told
    return facts


def _add_device(facts: dict[str, str]) -> list[str]:
    """What torch can compute on. Returns advice."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "cuda"):
        return []
    try:
        facts["PyTorch is built for"] = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no NVIDIA GPU"
        facts["Computes on"] = _device(torch)
    except Exception as problem:  # noqa: BLE001 - drivers fail in many ways
        facts["Computes on"] = "CPU"
        return [f"The GPU cannot be used ({_first_line(problem)}). Update its driver, or use the CPU."]
    if GPU in facts and facts["Computes on"] == "CPU":
        reason = (
            "its driver does not match the PyTorch that is installed"
            if torch.version.cuda
            else "the PyTorch that is installed was built without CUDA"
        )
        message = (
            f"There is an NVIDIA GPU, but {reason}, so everything is computed on the CPU. "
            "Install the extension PyTorch in 3D Slicer: it chooses the build that fits the driver."
        )
        return [message]
    return []


def _device(torch: Any) -> str:
    for name in ("cuda", "mps"):
        backend = torch.cuda if name == "cuda" else torch.backends.mps
        if backend.is_available():
            assert float(torch.ones(2, device=name).sum()) == 2.0  # a kernel that the GPU does not know fails only here
            return torch.cuda.get_device_name(0) if name == "cuda" else "Apple GPU"
    return "CPU"


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return "; ".join(done.stdout.strip().splitlines())


def _first_line(problem: BaseException) -> str:
    text = str(problem).strip() or type(problem).__name__
    return text.splitlines()[0][:200]


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
