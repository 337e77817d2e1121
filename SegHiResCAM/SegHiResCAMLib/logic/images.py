"""Volume nodes as the worker takes them: voxels, one channel or several, and where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from SegHiResCAMLib.grids import SAME_PLACE, distance
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.volumes import volume_array
from SegHiResCAMLib.worker.protocol import Voxels

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode


def voxels_of(volume: vtkMRMLScalarVolumeNode, further: Sequence[vtkMRMLScalarVolumeNode] = ()) -> Voxels:
    """The voxels of a volume, not copied; or of several that are the channels of one image.

    Raises:
        SceneError: A volume has no voxels, or they do not lie on one grid.
    """
    array, affine = volume_array(volume)
    if not further:
        return Voxels.of(array, affine)
    channels = [array]
    for node in further:
        other, where = volume_array(node)
        aligned = other.shape == array.shape and distance(where, affine, array.shape) < SAME_PLACE
        if not aligned or node.GetTransformNodeID() != volume.GetTransformNodeID():
            message = (
                f"'{node.GetName()}' lies on another grid than '{volume.GetName()}'. Resample it to that volume with the module Resample "
                "Scalar/Vector/DWI Volume, then choose the result."
            )
            raise SceneError(message)
        channels.append(other)
    return Voxels.of(lambda: np.stack(channels), affine)
