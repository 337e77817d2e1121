"""The panel of 3D Slicer's main window that shows one module at a time, as qSlicerModulePanel does."""

from __future__ import annotations

from typing import Any

from harness.pythonqt import APPLICATION, QtCore, QtWidgets

Policy = QtWidgets.QSizePolicy.Policy


class ModulePanel:
    """Scrolls upright only, and is as narrow as the user wants but not narrower than its module.

    It takes a module's widget out of its layout without deleting the layout's item. Qt asks that item of the widget's first visit for sizes
    ever after, and the new one keeps the height that a width needed when it was asked first.

    Args:
        module: A module's widget.
        width: Of the panel, in pixels.
    """

    def __init__(self, module: Any, width: int) -> None:
        self._module = module
        self._leaked: list[Any] = []
        self.area = QtWidgets.QScrollArea()
        self.area.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        self.area.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.area.setWidgetResizable(True)
        contents = QtWidgets.QWidget()
        layout = QtWidgets.QVBoxLayout(contents)
        layout.setSizeConstraint(QtWidgets.QLayout.SizeConstraint.SetMinAndMaxSize)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QtWidgets.QLabel("Help"))
        layout.addStretch()
        self.area.setWidget(contents)
        self.area.resize(width, 900)
        self.area.show()

    def add(self) -> None:
        """As when the user opens the module."""
        module = self._module
        module.layout().setContentsMargins(0, 0, 0, 0)
        self.area.widget().layout().insertWidget(1, module, 1)
        module.setSizePolicy(Policy.Minimum, module.sizePolicy.verticalPolicy())
        module.setVisible(True)

    def remove(self) -> None:
        """As when the user opens another module."""
        layout = self.area.widget().layout()
        self._leaked.append(layout.takeAt(layout.indexOf(self._module)))
        self._module.setVisible(False)
        self._module.setParent(None)

    def settle(self) -> None:
        """Let layouts come to rest: each tells the one around it in a turn of its own, twice where texts are measured again."""
        for _ in range(16):
            APPLICATION.processEvents()

    def close(self) -> None:
        """Give the module's widget back."""
        self.remove()
        self.area.deleteLater()
