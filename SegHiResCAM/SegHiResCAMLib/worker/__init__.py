"""A child process that computes, and its client; `client` and `protocol` import the standard library and numpy, only `answers` the engine.

Nothing here imports slicer, vtk or Qt, so the application that asks never loads torch, and survives whatever happens to it.
"""
