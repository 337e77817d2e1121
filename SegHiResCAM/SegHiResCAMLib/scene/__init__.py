"""MRML nodes for what the engine computes; may import slicer, vtk and numpy (matplotlib for pictures), never torch or Qt.

It runs inside 3D Slicer and, through `headless`, on the slicer-core wheels alike.
"""
