"""Parameters that the panel no longer follows leave nothing on their node: what VTK still called there, after Python had freed it, would end 3D Slicer."""

from __future__ import annotations

import gc
from typing import Any

from harness.desktop import Desktop


def test_a_node_that_is_no_longer_followed_has_no_observer(desktop: Desktop, scene: Any) -> None:
    node = desktop.widget.panel.state.parameters.parameterNode
    assert node.HasObserver("ModifiedEvent")
    desktop.widget.exit()
    gc.collect()  # parameters of before are in cycles with what the widgets were told by
    assert not node.HasObserver("ModifiedEvent")
    desktop.widget.enter()


def test_entering_again_and_again_asks_the_widgets_once_for_a_change(desktop: Desktop, scene: Any) -> None:
    for _ in range(5):
        desktop.widget.exit()
        desktop.widget.enter()
    gc.collect()
    asked: list[float] = []
    slider = desktop.ui.opacitySlider
    slider.connect("valueChanged(double)", asked.append)
    desktop.widget.panel.state.parameters.opacity = 0.25
    slider.disconnect("valueChanged(double)", asked.append)
    assert (slider.value, len(asked)) == (0.25, 1)
    scene.Clear(0)  # changes the node: nothing that was freed is called
    assert desktop.widget.panel.state.parameters is not None
