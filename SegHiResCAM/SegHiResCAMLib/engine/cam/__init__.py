"""Class activation maps of segmentation networks: formulas, the leaf that makes them cheap, layers, and exact maps over windows."""

from SegHiResCAMLib.engine.cam.any_network import activation_map

__all__ = ["activation_map"]
