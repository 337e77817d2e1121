"""`python -m SegHiResCAMLib` is the command `seghirescam`."""

from SegHiResCAMLib.cli import main

main()
