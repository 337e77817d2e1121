"""Stand-ins for the ctk widgets of 3D Slicer: their properties and signals, and looks near enough for a picture."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

from harness.pythonqt import QtCore, QtGui, QtWidgets
from harness.stand_ins import STAND_INS, stand_in

Signal = QtCore.Signal
QWidget = QtWidgets.QWidget
_COLLAPSED_HEIGHT = 14  # pixels, below the title of a closed section


@stand_in(text="", collapsed=False, checked=True)
class ctkCollapsibleButton(QWidget):
    """As wide as its title or its contents at least; what the program has hidden stays hidden when it opens."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        QWidget.__init__(self, parent if isinstance(parent, QWidget) else None)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Minimum, QtWidgets.QSizePolicy.Policy.Preferred)
        self._follow_font()

    def minimumSizeHint(self) -> Any:
        button = self._button_size()
        if self.collapsed:
            return button + QtCore.QSize(0, _COLLAPSED_HEIGHT)
        return QWidget.minimumSizeHint(self).expandedTo(button)

    def sizeHint(self) -> Any:
        button = self._button_size() + QtCore.QSize(0, _COLLAPSED_HEIGHT)
        return button if self.collapsed else QWidget.sizeHint(self).expandedTo(button)

    def changeEvent(self, event: Any) -> None:
        if event.type() in (QtCore.QEvent.Type.FontChange, QtCore.QEvent.Type.StyleChange):
            self._follow_font()
        QWidget.changeEvent(self, event)

    def _follow_font(self) -> None:
        self.setContentsMargins(0, self._button_size().height(), 0, 0)

    def _on_text(self, *_: Any) -> None:
        self.updateGeometry()
        self.update()

    def showEvent(self, event: Any) -> None:
        self._show_contents(not self.collapsed)  # they are made after the property is set
        QWidget.showEvent(self, event)

    def _on_collapsed(self, collapsed: bool, before: bool) -> None:
        self._show_contents(not collapsed)
        self.setMaximumHeight(self.sizeHint().height() if collapsed else 16777215)
        self._cover()
        self.updateGeometry()
        if collapsed != before:
            self.contentsCollapsed.emit(collapsed)

    def resizeEvent(self, event: Any) -> None:
        QWidget.resizeEvent(self, event)
        self._cover()

    def _cover(self) -> None:
        """Nothing of the contents is seen while it is closed, not even what the program shows meanwhile."""
        if self.collapsed:
            self.setMask(QtGui.QRegion(0, 0, max(self.width, 1), self._button_size().height()))
        else:
            self.clearMask()

    def _show_contents(self, visible: bool) -> None:
        explicit = QtCore.Qt.WidgetAttribute.WA_WState_ExplicitShowHide
        for child in self.children():
            if isinstance(child, QWidget) and not (child.isHidden() and child.testAttribute(explicit)):
                child.setVisible(visible)
                child.setAttribute(explicit, False)

    def _option(self) -> Any:
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.text = ("▸ " if self.collapsed else "▾ ") + self.text
        return option

    def _button_size(self) -> Any:
        option = self._option()
        text = self.fontMetrics().size(QtCore.Qt.TextFlag.TextShowMnemonic, option.text)
        return self.style().sizeFromContents(QtWidgets.QStyle.ContentsType.CT_PushButton, option, text, self)

    def paintEvent(self, _event: Any) -> None:
        option = self._option()
        option.rect = QtCore.QRect(0, 0, self.rect.width(), self._button_size().height())
        painter = QtGui.QPainter(self)
        kinds = QtWidgets.QStyle.ControlElement
        self.style().drawControl(kinds.CE_PushButtonBevel, option, painter, self)
        flags = QtCore.Qt.AlignmentFlag.AlignLeft | QtCore.Qt.AlignmentFlag.AlignVCenter
        text = option.rect.adjusted(8, 0, -8, 0)
        self.style().drawItemText(
            painter, text, flags, option.palette, True, option.text, QtGui.QPalette.ColorRole.ButtonText
        )
        painter.end()

    def mousePressEvent(self, event: Any) -> None:
        if event.position().y() < self._button_size().height():
            self.collapsed = not self.collapsed


@stand_in(minimum=0.0, maximum=99.0, value=0.0, singleStep=1.0, pageStep=10.0, decimals=2, suffix="")
class ctkSliderWidget(QWidget):
    """The value stays within its bounds, and its change is told once."""

    valueChanged = Signal(float)

    def __init__(self, parent: Any = None) -> None:
        QWidget.__init__(self, parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._slider.setRange(0, 1000)
        self._number = QtWidgets.QDoubleSpinBox()
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._number)
        self._number.valueChanged.connect(self.setValue)
        self._slider.sliderMoved.connect(
            lambda step: self.setValue(self.minimum + (self.maximum - self.minimum) * step / 1000)
        )

    def _on_value(self, value: float, before: float) -> None:
        within = min(max(value, self.minimum), self.maximum)
        self.__dict__["_values"]["value"] = within
        self._draw()
        if within != before:
            self.valueChanged.emit(within)

    def _on_minimum(self, *_: Any) -> None:
        self.value = self.value

    _on_maximum = _on_minimum
    _on_singleStep = _on_decimals = _on_suffix = _on_minimum

    def _draw(self) -> None:
        blocked = self._number.blockSignals(True)
        self._number.setDecimals(self.decimals)
        self._number.setSingleStep(self.singleStep)
        self._number.setSuffix(self.suffix)
        self._number.setRange(self.minimum, self.maximum)
        self._number.setValue(self.value)
        self._number.blockSignals(blocked)
        width = self.maximum - self.minimum
        self._slider.setValue(round(1000 * (self.value - self.minimum) / width) if width else 0)


@stand_in(currentPath="", filters=0, settingKey="", showHistoryButton=True, showBrowseButton=True)
class ctkPathLineEdit(QWidget):
    currentPathChanged = Signal(str)
    Dirs, Files, Readable = 1, 2, 16

    def __init__(self, parent: Any = None) -> None:
        QWidget.__init__(self, parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._line = QtWidgets.QLineEdit()
        layout.addWidget(self._line)
        layout.addWidget(QtWidgets.QPushButton("…"))
        self._line.textChanged.connect(self.setCurrentPath)

    def _on_currentPath(self, path: str, before: str) -> None:
        if self._line.text != path:
            self._line.setText(path)
        if path != before:
            self.currentPathChanged.emit(path)


@stand_in(directory=".", caption="", text="")
class ctkDirectoryButton(QWidget):
    """Shows its text where it has one, else its folder, which is the working folder until there is another."""

    directoryChanged = Signal(str)
    directorySelected = Signal(str)

    def __init__(self, parent: Any = None) -> None:
        QWidget.__init__(self, parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._button = QtWidgets.QPushButton(str(Path.cwd()))
        self._button.setSizePolicy(
            QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed
        )  # it elides
        layout.addWidget(self._button)

    def _on_directory(self, directory: str, before: str) -> None:
        changed = QtCore.QDir(directory) != QtCore.QDir(before)
        absolute = QtCore.QDir(directory).absolutePath()
        self.__dict__["_values"]["directory"] = absolute if changed else before
        self._show()
        self.directorySelected.emit(absolute)
        if changed:
            self.directoryChanged.emit(absolute)

    def _on_text(self, *_: Any) -> None:
        self._show()

    def _show(self) -> None:
        self._button.text = self.text or QtCore.QDir(self.directory).absolutePath()


def ctk_module() -> types.ModuleType:
    """The module `ctk`; what has no stand-in is an empty class, since Slicer's own files name many in annotations."""

    class CtkModule(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            setattr(self, name, STAND_INS.get(name) or type(name, (), {}))
            return getattr(self, name)

    return CtkModule("ctk")
