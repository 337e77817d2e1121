"""The MRML application outside 3D Slicer: what Slicer's own start-up sets up, on the slicer-core wheel, without Qt or OpenGL.

This is the one module of the room that imports `slicer` only when called, so that a missing or wrong package is told in
a message. Import the other modules inside the `with` block.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from SegHiResCAMLib.kept_memory import release_memory
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.writing.temporary import temporary_folder

if TYPE_CHECKING:
    from types import ModuleType

    from matplotlib.cm import ColormapRegistry
    from slicer import (
        vtkMRMLAbstractLogic,
        vtkMRMLApplicationLogic,
        vtkMRMLRemoteIOLogic,
        vtkMRMLScene,
        vtkMRMLSliceLogic,
    )

# The colour tables that Slicer loads from files and that the wheel lacks. matplotlib has the very same tables.
COLOR_TABLES = ("Inferno", "Magma", "Plasma", "Viridis", "Cividis")

# A scene says which Slicer wrote it. The wheel calls itself "slicer-core 4.0.0 0", at which the desktop warns, and takes
# old models for RAS. This is the oldest release that the project supports, so no supported desktop calls it too new.
SCENE_VERSION = "Slicer 5.10.0 34045"

_SLICE_VIEWS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}
# Letter and colour of each view's bar, which Slicer takes from the scene that it opens: without them, its bars would stay grey.
_BARS = {"Red": ("R", (243, 74, 51)), "Yellow": ("Y", (237, 213, 76)), "Green": ("G", (110, 176, 75))}


@dataclass(frozen=True)
class HeadlessApplication:
    """What `headless_application` yields.

    Attributes:
        scene: The vtkMRMLScene, with the colour tables and the three slice views of a new desktop scene.
        slice_logics: The vtkMRMLSliceLogic of each slice view: Red (axial), Yellow (sagittal), Green (coronal).
        core: The vtkSlicerApplicationLogic, for further logics.
    """

    scene: vtkMRMLScene
    slice_logics: dict[str, vtkMRMLSliceLogic]
    core: vtkMRMLApplicationLogic


@contextmanager
def headless_application() -> Iterator[HeadlessApplication]:
    """Set up a scene with its logics, and take all of it down at the end, the private temporary folder included.

    Yields:
        The application. Nodes must not be used after the block.

    Raises:
        SceneError: slicer-core is missing or hidden by another package called `slicer`, or matplotlib is missing.
    """
    release_memory()  # what was computed in before is of no use to pictures and a scene
    slicer = _slicer_core()
    with temporary_folder("scene") as folder:
        _write_color_tables(folder / "share" / "ColorFiles")
        application = _application(slicer, folder)
        try:
            yield application[0]
        finally:
            _take_down(*application)


def missing_packages() -> str:
    """Why there can be no scene here, as a message; empty where there can be one."""
    try:
        _slicer_core()
        _color_maps()
    except SceneError as problem:
        return problem.message
    return ""


def _slicer_core() -> ModuleType:
    """Import slicer-core, or say what stands in its place."""
    try:
        import slicer
    except ImportError as problem:
        message = (
            "Scenes and figures need the package slicer-core, which cannot be imported "
            f"({problem}). Install it with `pip install slicer-core matplotlib` in an environment of its own."
        )
        raise SceneError(message) from problem
    if not hasattr(slicer, "vtkMRMLScene"):
        message = (
            "The installed package `slicer` is not slicer-core but another of the same name (the package shap has one). "
            "Make a new environment without it, and run `pip install slicer-core matplotlib` there."
        )
        raise SceneError(message)
    return slicer


def _write_color_tables(folder: Path) -> None:
    """Write the tables in Slicer's own format, so that node IDs, and saved scenes, equal the desktop's."""
    colormaps = _color_maps()
    folder.mkdir(parents=True)
    for name in COLOR_TABLES:
        rgb = (colormaps[name.lower()](range(256))[:, :3] * 255).round().astype(int)
        lines = [f"# Color table file {name}.txt", "# 256 values"]
        lines += [f"{index} {index} {r} {g} {b} 255" for index, (r, g, b) in enumerate(rgb)]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _color_maps() -> ColormapRegistry:
    try:
        from matplotlib import colormaps
    except ImportError as problem:
        message = (
            "Colour tables outside 3D Slicer need matplotlib. Install it with `pip install slicer-core matplotlib`."
        )
        raise SceneError(message) from problem
    return colormaps


def _application(
    slicer: ModuleType, folder: Path
) -> tuple[HeadlessApplication, list[vtkMRMLAbstractLogic], vtkMRMLRemoteIOLogic]:
    """Create the scene and its logics in the order that they depend on each other."""
    import vtk

    scene = slicer.vtkMRMLScene()
    scene.SetVersion(SCENE_VERSION)
    scene.SetRootDirectory(str(folder))

    core = slicer.vtkSlicerApplicationLogic()
    core.SetTemporaryPath(str(folder))
    core.SetHomeDirectory(str(folder))
    core.SetShareDirectory("share")  # relative to the home directory; colour tables are looked for in its ColorFiles
    colors = slicer.vtkSlicerColorLogic()
    core.SetColorLogic(colors)
    core.SetMRMLScene(scene)
    core.SetSliceLogics(vtk.vtkCollection())

    core.SetModuleLogic("Colors", colors)
    colors.SetMRMLApplicationLogic(core)
    colors.SetMRMLScene(scene)  # also makes the scene know colour legends
    colors.AddDefaultColorNodes()

    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    slice_logics = {name: _slice_view(slicer, scene, core, name, way) for name, way in _SLICE_VIEWS.items()}
    remote = _remote_io(slicer, scene, folder / "cache")
    return HeadlessApplication(scene, slice_logics, core), [*slice_logics.values(), colors, core], remote


def _slice_view(
    slicer: ModuleType, scene: vtkMRMLScene, core: vtkMRMLApplicationLogic, name: str, orientation: str
) -> vtkMRMLSliceLogic:
    """Add one of the desktop's slice views, so that a saved scene opens there as it was shown here."""
    logic: vtkMRMLSliceLogic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(core)
    core.GetSliceLogics().AddItem(logic)
    logic.SetMRMLScene(scene)
    node = logic.AddSliceNode(name)
    node.SetOrientation(orientation)
    label, color = _BARS[name]
    node.SetLayoutLabel(label)
    node.SetLayoutColor(*(channel / 255 for channel in color))
    return logic


def _remote_io(slicer: ModuleType, scene: vtkMRMLScene, cache: Path) -> vtkMRMLRemoteIOLogic:
    """Set up what reading a scene bundle asks for, although nothing here is remote."""
    cache.mkdir()
    remote: vtkMRMLRemoteIOLogic = slicer.vtkMRMLRemoteIOLogic()
    remote.SetMRMLScene(scene)
    remote.GetCacheManager().SetRemoteCacheDirectory(str(cache))
    remote.AddDataIOToScene()
    return remote


def _take_down(
    application: HeadlessApplication, logics: list[vtkMRMLAbstractLogic], remote: vtkMRMLRemoteIOLogic
) -> None:
    """Release the scene from the outside in, since a logic that outlives its scene crashes."""
    remote.RemoveDataIOFromScene()
    remote.SetMRMLScene(None)
    application.scene.Clear(1)
    for logic in logics:
        logic.SetMRMLScene(None)
