"""The panel, used as a user does: real widgets without 3D Slicer, a real scene, the real worker."""
