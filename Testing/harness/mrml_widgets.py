"""Stand-ins for the widgets of 3D Slicer that show a scene."""

from __future__ import annotations

from typing import Any

import shiboken6
import slicer

from harness.pythonqt import QtCore, QtWidgets
from harness.stand_ins import stand_in

Signal = QtCore.Signal


class SceneWidget(QtWidgets.QWidget):
    """Has a scene and says when it has another."""

    mrmlSceneChanged = Signal(object)

    def __init__(self, parent: Any = None) -> None:
        QtWidgets.QWidget.__init__(self, parent if isinstance(parent, QtWidgets.QWidget) else None)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


@stand_in()
class qMRMLWidget(SceneWidget):
    pass


@stand_in()
class qSlicerWidget(SceneWidget):
    pass


@stand_in(hiddenNodeIDs=[])
class SortFilterProxyModel(QtCore.QObject):
    """Which nodes a list leaves out: of qMRMLSortFilterProxyModel what the panel uses."""

    def _on_hiddenNodeIDs(self, identifiers: list[str], before: list[str]) -> None:
        if tuple(identifiers) != tuple(before):
            self.parent()._follow()


@stand_in(nodeTypes=[], noneEnabled=False, addEnabled=True, removeEnabled=True, renameEnabled=False,
          editEnabled=False, showHidden=False, showChildNodeTypes=True, selectNodeUponCreation=True, baseName="",
          noneDisplay="None")  # fmt: skip
class qMRMLNodeComboBox(SceneWidget):
    """Lists the scene's nodes of some classes and attributes, and follows it; a removed node leaves the one above it chosen."""

    currentNodeChanged = Signal(object)
    nodeAddedByUser = Signal(object)

    def __init__(self, parent: Any = None) -> None:
        SceneWidget.__init__(self, parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._list = QtWidgets.QComboBox()
        layout.addWidget(self._list)
        self._filter = SortFilterProxyModel(self)
        self._ids: list[str | None] = []
        self._chosen: str | None = None
        self._attributes: list[tuple[str, str, str | None]] = []
        self._observed: list[tuple[Any, int]] = []
        self._list.activated.connect(lambda index: self._choose(self._ids[index]))

    def setMRMLScene(self, scene: Any) -> None:
        for observed, tag in self._observed:
            observed.RemoveObserver(tag)
        self._observed = []
        if scene is not None:
            kind = slicer.vtkMRMLScene
            for event in (kind.NodeAddedEvent, kind.NodeRemovedEvent, kind.EndBatchProcessEvent):
                self._observed.append((scene, scene.AddObserver(event, lambda *_: self._follow())))
        SceneWidget.setMRMLScene(self, scene)
        self._follow()

    def addAttribute(self, node_type: str, attribute: str, value: str | None = None) -> None:
        self._attributes.append((node_type, attribute, value))
        self._follow()

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._chosen) if self._scene is not None and self._chosen else None

    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentNodeID(node.GetID() if node is not None else None)

    def setCurrentNodeID(self, identifier: str | None) -> None:
        if identifier in self._ids or not identifier:
            self._choose(identifier or None)

    def sortFilterProxyModel(self) -> Any:
        return self._filter

    def nodeCount(self) -> int:
        return len([one for one in self._ids if one])

    def addNode(self, node_type: str | None = None) -> Any:
        node = self._scene.AddNewNodeByClass(node_type or self.nodeTypes[0])
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def _on_nodeTypes(self, *_: Any) -> None:
        self._follow()

    _on_noneEnabled = _on_nodeTypes

    def _follow(self) -> None:
        if not shiboken6.isValid(self._list):
            for observed, tag in self._observed:
                observed.RemoveObserver(tag)
            self._observed = []
            return
        before = self._ids.index(self._chosen) if self._chosen in self._ids else 0
        above = self._ids[:before]
        nodes = [node for node in self._nodes() if self._accepts(node)]
        self._ids = ([None] if self.noneEnabled else []) + [node.GetID() for node in nodes]
        blocked = self._list.blockSignals(True)
        self._list.clear()
        self._list.addItems(([self.noneDisplay] if self.noneEnabled else []) + [node.GetName() or "" for node in nodes])
        self._list.blockSignals(blocked)
        # As QComboBox of Qt 5 does (that of Qt 6 takes the one below): a row that goes leaves the one above it chosen.
        left = [one for one in [*above, self._chosen] if one in self._ids]
        self._choose(self._chosen if self._chosen in self._ids else left[-1] if left else None)

    def _nodes(self) -> list[Any]:
        """Those of the node types; the scene looks for them much faster than Python would."""
        if self._scene is None:
            return []
        exactly = not self.showChildNodeTypes
        return [
            node
            for kind in self.nodeTypes
            for node in (
                self._scene.GetNthNodeByClass(index, kind) for index in range(self._scene.GetNumberOfNodesByClass(kind))
            )
            if not exactly or node.GetClassName() == kind
        ]

    def _accepts(self, node: Any) -> bool:
        if (node.GetHideFromEditors() and not self.showHidden) or node.GetID() in self._filter.hiddenNodeIDs:
            return False
        return all(
            node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name))
            for kind, name, value in self._attributes
            if node.IsA(kind)
        )

    def _choose(self, identifier: str | None) -> None:
        self._list.setCurrentIndex(self._ids.index(identifier) if identifier in self._ids else -1)
        if identifier != self._chosen:
            self._chosen = identifier
            self.currentNodeChanged.emit(self.currentNode())
