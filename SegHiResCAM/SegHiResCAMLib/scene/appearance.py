"""How a heat map looks in the views: colours, range, what is hidden, legend. Its voxels stay as they are.

The range runs from 0 to `upper`, or from its negative where signs are shown, then in diverging colours. What lies nearer to 0 than a
fraction of the range is hidden.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SegHiResCAMLib.scene.heatmap import LOWER_FRACTION, range_end, restore_display, set_display_range
from SegHiResCAMLib.scene.legend import legend_of, set_legend

if TYPE_CHECKING:
    from slicer import vtkMRMLColorTableNode, vtkMRMLScalarVolumeNode, vtkMRMLScene, vtkMRMLSliceNode

COLORS = {
    "Inferno": "vtkMRMLColorTableNodeFileInferno.txt",
    "Magma": "vtkMRMLColorTableNodeFileMagma.txt",
    "Plasma": "vtkMRMLColorTableNodeFilePlasma.txt",
    "Viridis": "vtkMRMLColorTableNodeFileViridis.txt",
    "Cividis": "vtkMRMLColorTableNodeFileCividis.txt",
    "Iron": "vtkMRMLColorTableNodeIron",
    "Rainbow": "vtkMRMLColorTableNodeRainbow",
}
"""Names and MRML identifiers; the first five are perceptually uniform, the others make edges that the map does not have."""

DIVERGING = "SegHiResCAM.diverging"
# ColorBrewer's RdBu, reversed: blue speaks against, red for the segment.
_STOPS = [(0.02, 0.19, 0.38), (0.26, 0.58, 0.76), (0.97, 0.97, 0.97), (0.94, 0.54, 0.38), (0.55, 0.0, 0.12)]
_ENTRIES = 256


@dataclass(frozen=True)
class Appearance:
    """What the user chooses.

    Attributes:
        upper: Highest value of the range.
        colors: One of `COLORS`; not used where signs are shown.
        lower_fraction: What lies nearer to 0 than this fraction of `upper` is hidden.
        signed: Whether values below 0 are shown, too.
        interpolate: Whether views interpolate between voxels.
        legend: Whether the legend is shown.
    """

    upper: float
    colors: str = "Inferno"
    lower_fraction: float = LOWER_FRACTION
    signed: bool = False
    interpolate: bool = True
    legend: bool = True


def apply_appearance(
    node: vtkMRMLScalarVolumeNode, look: Appearance, views: Iterable[vtkMRMLSliceNode] | None = None
) -> None:
    """Make a heat map's node look as chosen, in all views at once; `views` are those that show its legend, None for all."""
    restore_display(node)
    display = node.GetDisplayNode()
    modified = display.StartModify()
    if look.signed:
        table = _diverging_table(node.GetScene(), look.lower_fraction)
        display.SetAndObserveColorNodeID(table.GetID())
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(-range_end(look.upper), range_end(look.upper))
        display.ApplyThresholdOff()  # a threshold cannot hide the middle; the table's transparent entries do
    else:
        display.SetAndObserveColorNodeID(COLORS[look.colors])
        set_display_range(node, look.upper, look.lower_fraction)
    display.SetInterpolate(look.interpolate)
    display.EndModify(modified)
    set_legend(node, visible=look.legend, views=views)


def appearance_of(node: vtkMRMLScalarVolumeNode) -> Appearance:
    """How a heat map looks now, as far as the choices say it."""
    display = node.GetDisplayNode()
    table, upper = display.GetColorNode(), display.GetWindowLevelMax()
    signed = table is not None and table.GetName() == DIVERGING
    names = {node_id: name for name, node_id in COLORS.items()}
    legend = legend_of(node)
    hidden = display.GetLowerThreshold() / upper if display.GetApplyThreshold() and upper > 0 else 0.0
    return Appearance(
        upper=upper,
        colors=names.get(display.GetColorNodeID(), "Inferno"),
        lower_fraction=_hidden_by(table) if signed else min(max(hidden, 0.0), 1.0),
        signed=signed,
        interpolate=bool(display.GetInterpolate()),
        legend=legend is not None and bool(legend.GetVisibility()),
    )


def _hidden_by(table: vtkMRMLColorTableNode) -> float:
    """The fraction that `_diverging_table` hides, as well as its entries tell it."""
    clear = [entry for entry in range(_ENTRIES) if table.GetLookupTable().GetTableValue(entry)[3] == 0]
    return len(clear) / (_ENTRIES - 1)


def _diverging_table(scene: vtkMRMLScene, hidden: float) -> vtkMRMLColorTableNode:
    """The scene's table from blue over white to red, transparent within the hidden fraction around its middle."""
    found = scene.GetFirstNodeByName(DIVERGING)
    table: vtkMRMLColorTableNode = found or scene.AddNewNodeByClass("vtkMRMLColorTableNode", DIVERGING)
    modified = table.StartModify()
    if table.GetNumberOfColors() != _ENTRIES:
        table.SetTypeToUser()
        table.SetNumberOfColors(_ENTRIES)
        table.SetHideFromEditors(False)  # hidden tables are not saved with the scene
    values = np.linspace(-1, 1, _ENTRIES)
    stops = np.linspace(-1, 1, len(_STOPS))
    channels = [np.interp(values, stops, [stop[channel] for stop in _STOPS]) for channel in range(3)]
    for index, (value, *color) in enumerate(zip(values, *channels, strict=True)):
        table.SetColor(index, f"{value:+.2f}", *color, float(abs(value) >= hidden))
    table.EndModify(modified)
    return table
