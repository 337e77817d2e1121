"""The command `seghirescam`; may import engine and scene, both only when a command needs them, so that --help is instant.

One module a group of commands; importing it adds them, in the order in which --help lists them.
"""

from functools import partial

from SegHiResCAMLib.cli.application import app
from SegHiResCAMLib.cli.console import lost
from SegHiResCAMLib.cli.streams import prepare_streams, run
from SegHiResCAMLib.kept_memory import keep_memory
from SegHiResCAMLib.lean_monai import import_lean_monai

from SegHiResCAMLib.cli import demo  # noqa: F401, isort: skip
from SegHiResCAMLib.cli import segment  # noqa: F401, isort: skip
from SegHiResCAMLib.cli import explain  # noqa: F401, isort: skip
from SegHiResCAMLib.cli import what_if  # noqa: F401, isort: skip
from SegHiResCAMLib.cli import compare_models  # noqa: F401, isort: skip
from SegHiResCAMLib.cli import cohort  # noqa: F401, isort: skip
from SegHiResCAMLib.cli import layers  # noqa: F401, isort: skip
from SegHiResCAMLib.cli import models  # noqa: F401, isort: skip
from SegHiResCAMLib.cli import archives  # noqa: F401, isort: skip
from SegHiResCAMLib.cli import worker  # noqa: F401, isort: skip


def main() -> None:
    """Entry point."""
    prepare_streams()
    keep_memory()
    import_lean_monai()
    run(partial(app, prog_name="seghirescam"), lost)
