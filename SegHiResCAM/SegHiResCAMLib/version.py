"""Which version of the program this is, wherever it runs: also where it is not installed as a package, as in 3D Slicer."""

VERSION = "0.1.0"
