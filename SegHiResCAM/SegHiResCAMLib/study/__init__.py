"""Many cases: tables and folders of them, computed by Dask, one row each; engine and results, never Slicer, Qt or the command."""
