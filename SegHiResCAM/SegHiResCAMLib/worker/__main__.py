"""`python -m SegHiResCAMLib.worker FOLDER` is the worker; its client starts it."""

from SegHiResCAMLib.worker.server import main

main()
