"""3D Slicer's Python side without the desktop: enough to run the module's logic and panel on slicer-core. It is not 3D Slicer."""
