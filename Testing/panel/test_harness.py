"""The stand-in for 3D Slicer's Qt behaves as PythonQt does, so that a panel that runs here has a chance there."""

from __future__ import annotations

import pytest
from harness import pythonqt
from harness.pythonqt import CALLS, QtCore, QtWidgets


def test_properties_are_attributes_that_hide_their_getters() -> None:
    button = QtWidgets.QPushButton("Explain")
    assert button.text == "Explain"
    button.enabled = False
    assert button.enabled is False
    button.name = "explainButton"
    assert button.objectName == "explainButton"


def test_a_misspelt_property_is_an_error() -> None:
    with pytest.raises(AttributeError, match="'tex' does not exist on QPushButton"):
        QtWidgets.QPushButton().tex = "Explain"


def test_a_signal_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(AttributeError, match="has no signal"):
        QtWidgets.QPushButton().connect("pressed(int)", print)


def test_a_slot_may_take_fewer_arguments_and_its_error_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    button = QtWidgets.QPushButton()

    def slot() -> None:
        raise ValueError("broken")

    CALLS.clear()
    button.connect("clicked(bool)", slot)
    button.click()
    (call,) = CALLS
    assert str(call.error) == "broken"
    button.disconnect("clicked(bool)", slot)
    button.click()
    assert [call] == CALLS
    assert "broken" in capsys.readouterr().err


def test_named_children_and_dynamic_properties_are_attributes() -> None:
    box = QtWidgets.QWidget()
    label = QtWidgets.QLabel("Here", box)
    label.name = "where"
    box.setProperty("SlicerParameterName", "opacity")
    assert box.where.text == "Here"
    assert box.SlicerParameterName == "opacity"


def test_a_dialog_is_refused_and_remembered() -> None:
    with pytest.raises(pythonqt.DialogOpened):
        QtWidgets.QMessageBox.warning(None, "Title", "Text")
    assert pythonqt.DIALOGS.pop() == ("QMessageBox.warning", ["Title", "Text"])


def test_qt_is_one_flat_module() -> None:
    qt = pythonqt.qt_module()
    assert qt.QTimer is QtCore.QTimer
    assert qt.QPushButton is QtWidgets.QPushButton
    with pytest.raises(AttributeError, match="QNothing"):
        qt.QNothing  # noqa: B018
