"""At which spacing a network sees volumes, read from the transforms that prepare them."""

from __future__ import annotations

from monai.transforms import Compose, Orientationd, Resized, Spacingd, Zoomd


def nominal_spacing(preprocessing: Compose, spatial_dims: int) -> tuple[float, ...] | None:
    """Millimetres between positions of the network's input where MONAI's transforms end on a fixed spacing, else None.

    Args:
        preprocessing: Of a volume.
        spatial_dims: The network's; for a 2D network, the spacing is that of its axial slices.
    """
    spacing, axes = None, "RAS"
    for step in preprocessing.transforms:
        if isinstance(step, Orientationd):
            axes = step.ornt_transform.axcodes or axes
        elif isinstance(step, Spacingd):
            spacing = tuple(float(length) for length in step.spacing_transform.pixdim)
        elif isinstance(step, Resized | Zoomd):
            spacing = None
    if spacing is None or len(spacing) != 3 or min(spacing) <= 0:
        return None
    return tuple(step for step, axis in zip(spacing, axes, strict=True) if spatial_dims == 3 or axis not in "SI")
