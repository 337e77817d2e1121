"""A real MRML scene for every test, and the grids that volumes come on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from SegHiResCAMLib.scene.headless import HeadlessApplication, headless_application


def _rotation(axis: int, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    others = [other for other in range(3) if other != axis]
    matrix = np.eye(4)
    matrix[np.ix_(others, others)] = [[c, -s], [s, c]]
    return matrix


def _shifted(linear: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = linear[:3, :3]
    matrix[:3, 3] = (-31.7, 12.3, 845.1)
    return matrix


AFFINES = {
    "identity": np.eye(4),
    "anisotropic": _shifted(np.diag([0.7, 0.9, 5.0, 1])),
    "left-handed": _shifted(np.diag([-1.5, 1.5, 2.0, 1])),
    "permuted": _shifted(np.array([[0, 0, -2.0, 0], [1.5, 0, 0, 0], [0, -1.2, 0, 0], [0, 0, 0, 1]])),
    "oblique": _shifted(_rotation(0, 20) @ _rotation(2, -35) @ np.diag([1.0, 1.5, 2.5, 1])),
    "oblique left-handed": _shifted(_rotation(1, 25) @ _rotation(2, 15) @ np.diag([1.2, -1.2, 2.0, 1])),
    "sheared": _shifted(np.array([[1.0, 0, 0.3, 0], [0.1, 1.2, -0.4, 0], [0, 0, 2.0, 0], [0, 0, 0, 1]])),
}


@pytest.fixture(params=AFFINES, ids=lambda name: name.replace(" ", "-"))
def affine(request: pytest.FixtureRequest) -> np.ndarray:
    """From (i, j, k) to RAS millimetres: every kind of grid that files bring."""
    return AFFINES[request.param]


@pytest.fixture(scope="session")
def _application() -> Iterator[HeadlessApplication]:
    with headless_application() as application:
        yield application


@pytest.fixture
def application(_application: HeadlessApplication) -> HeadlessApplication:
    """The application with an empty scene: clearing also puts the slice views' layers back to their defaults."""
    _application.scene.Clear(0)
    return _application


@pytest.fixture
def scene(application: HeadlessApplication) -> Any:
    return application.scene
