"""Two heat maps side by side, in 3D Slicer's own menu of layouts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _

from SegHiResCAMLib.scene.comparison import LAYOUT, offer_layout

if TYPE_CHECKING:
    from slicer import vtkMRMLScene

_ICON = Path(__file__).parents[2] / "Resources/Icons/SegHiResCAM.png"


def offer_side_by_side(scene: vtkMRMLScene) -> None:
    """Tell a scene's views of the layout, and add it to the menu where there is one; called once 3D Slicer has started.

    The main window itself applies the layout whose number an entry holds, and shows the entry's icon (`qSlicerMainWindow.cxx`).
    """
    offer_layout(scene)
    window = slicer.util.mainWindow()
    menus = [] if window is None else slicer.util.findChildren(window, name="LayoutMenu", className="QMenu")
    if not menus:
        return
    action = menus[0].addAction(_("Heat maps side by side"))  # "Side by side" is a layout of 3D Slicer's own
    action.setData(LAYOUT)
    action.setIcon(qt.QIcon(str(_ICON)))
    action.setToolTip(
        _("Two heat maps of SegHiResCAM in linked views. Choose the second one under Compare with in the module.")
    )
