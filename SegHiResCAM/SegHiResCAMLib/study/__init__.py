"""Many cases: tables and folders of them, computed by Dask, one row each; engine and results, never Slicer, Qt or the command."""

from SegHiResCAMLib.lean_monai import import_lean_monai

import_lean_monai()  # as each process of a cluster imports this first
