"""Which volumes a slice view shows, changed as the controls of the view itself change them, so that legends follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from slicer import vtkMRMLSliceCompositeNode


ALPHA = 0
"""MRML's number for a foreground that is blended over the background."""

_LAYERS_CHANGE = 1 | 2  # ForegroundVolumeFlag, BackgroundVolumeFlag


class ViewLayers(NamedTuple):
    """What lies over what in a slice view: identifiers of volume nodes, None for none.

    Attributes:
        background: Under everything.
        foreground: Over it.
        opacity: Of the foreground, 0 to 1.
        compositing: MRML's number of how they are put together.
    """

    background: str | None
    foreground: str | None
    opacity: float
    compositing: int = ALPHA


def layers_of(view: vtkMRMLSliceCompositeNode) -> ViewLayers:
    """What a view shows."""
    return ViewLayers(
        view.GetBackgroundVolumeID(), view.GetForegroundVolumeID(), view.GetForegroundOpacity(), view.GetCompositing()
    )


def set_layers(view: vtkMRMLSliceCompositeNode, layers: ViewLayers) -> None:
    """Show them; does nothing where the view shows them already.

    MRML's legends heed a changed layer only while the view's interaction flags say that one is changing, as Slicer's own controls do
    (`vtkMRMLColorLegendDisplayableManager::ProcessMRMLNodesEvents`); otherwise a view keeps the legend of the map that it showed before.
    """
    before = layers_of(view)
    if before == layers:
        return
    modified = view.StartModify()
    view.SetBackgroundVolumeID(layers.background)
    view.SetForegroundVolumeID(layers.foreground)
    view.SetForegroundOpacity(layers.opacity)
    view.SetCompositing(layers.compositing)
    view.EndModify(modified)
    if before[:2] != layers[:2]:
        flags = view.GetInteractionFlags()
        view.SetInteractionFlags(_LAYERS_CHANGE)
        view.Modified()
        view.SetInteractionFlags(flags)
