"""Whether a package of the extension holds every file that CMake lists: `python Testing/packaging/check.py PACKAGE`."""

from __future__ import annotations

import re
import sys
import tarfile
from pathlib import Path

MODULE = Path(__file__).parents[2] / "SegHiResCAM"


def main() -> None:
    listed = re.findall(
        r"^  (\S+\.\w+|\S+/LICENSE)$", (MODULE / "CMakeLists.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    expected = {file.replace("${MODULE_NAME}", "SegHiResCAM") for file in listed}
    with tarfile.open(sys.argv[1]) as package:
        packed = {name.partition("/qt-scripted-modules/")[2] for name in package.getnames()}
    if missing := sorted(expected - packed):
        sys.exit(
            f"{sys.argv[1]} lacks {len(missing)} files that SegHiResCAM/CMakeLists.txt lists: {', '.join(missing)}."
        )
    print(f"{Path(sys.argv[1]).name} holds all {len(expected)} files.")


if __name__ == "__main__":
    main()
