"""The module's logic on a real scene, with the real worker and a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from harness.desktop import module_without_qt
from tiny_bundle import noise, write_tiny_bundle

from SegHiResCAMLib.scene.headless import HeadlessApplication, headless_application

# Oblique, anisotropic and left-handed at once: columns are not axes, and their determinant is negative.
AFFINE = np.array([[-1.13, 0.41, 0, 31.7], [0.41, 1.13, 0, -12.3], [0, 0, 2.5, 845.1], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def application() -> Iterator[HeadlessApplication]:
    with headless_application() as application:
        yield application


@pytest.fixture(scope="module")
def module(application: HeadlessApplication) -> Iterator[Any]:
    with module_without_qt(application) as module:
        yield module


@pytest.fixture(scope="module")
def _logic(module: Any) -> Iterator[Any]:
    logic = module.SegHiResCAMLogic()
    yield logic
    logic.explainer.close()


@pytest.fixture
def scene(application: HeadlessApplication) -> Any:
    application.scene.Clear(0)
    return application.scene


@pytest.fixture
def logic(_logic: Any, scene: Any) -> Any:
    """One for the whole module, since its worker takes seconds to start; the scene is empty."""
    return _logic


@pytest.fixture(scope="session")
def a_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture
def a_volume(scene: Any) -> Any:
    """An oblique, left-handed volume under a transform, in a folder of the data tree."""
    import slicer

    from SegHiResCAMLib.scene.volumes import add_volume

    node = add_volume(scene, noise(), AFFINE, "CT")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Tilt")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([1.0, -1, -1, 1])))
    node.SetAndObserveTransformNodeID(transform.GetID())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "Patient")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), folder)
    return node
