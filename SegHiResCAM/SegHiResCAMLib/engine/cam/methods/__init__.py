"""The CAM methods: one function each, with its formula and source (gradient.py, eigen.py, forward.py), and the table of them all."""

from SegHiResCAMLib.engine.cam.methods.registry import METHODS, Method, find_method, method_summaries

__all__ = ["METHODS", "Method", "find_method", "method_summaries"]
