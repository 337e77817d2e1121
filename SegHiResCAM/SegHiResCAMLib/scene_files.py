"""What an answer has beside its numbers: pictures, and a scene for 3D Slicer. Needs slicer-core and matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegHiResCAMLib.plain_text import plain
from SegHiResCAMLib.records.result_tables import CHECK_FIGURE
from SegHiResCAMLib.results import CHOSEN_COLOR, COMPARISON, OVERLAY, SCENE
from SegHiResCAMLib.scene.check_picture import check_picture
from SegHiResCAMLib.scene.heatmap import add_deviation, add_heatmap, peak_position
from SegHiResCAMLib.scene.overlay import jump_slices, show_overlay, show_volume
from SegHiResCAMLib.scene.picture import comparison_picture, gallery_picture, slice_picture_steps
from SegHiResCAMLib.scene.save import save_scene
from SegHiResCAMLib.scene.segments import Segment, add_segment, add_segmentation, segment_ids
from SegHiResCAMLib.scene.volumes import add_volume, image_of
from SegHiResCAMLib.turns import finish

if TYPE_CHECKING:
    from monai.data import MetaTensor

    from SegHiResCAMLib.engine.answer.explanation import Explanation
    from SegHiResCAMLib.engine.models import SegmentationModel

COLUMNS = 4
"""Maps that are compared in all three directions; more share one slice."""


def write_scene_files(
    scene: Any, folder: Path, volume: MetaTensor, model: SegmentationModel, explanations: Sequence[Explanation]
) -> None:
    """Write picture, comparison (where there are several explanations) and scene; arguments as `write_explanation` has them.

    Raises:
        SceneError: A file cannot be written.
    """
    scene.Clear(0)  # of several segments, each has a scene of its own
    first = explanations[0]
    volume_node = add_volume(scene, volume.numpy()[0], volume.affine.numpy(), _name_of(volume))
    segmentation_node = _add_segments(scene, model, first, volume_node)
    heatmap_nodes = [
        add_heatmap(
            scene,
            explanation.heatmap.numpy()[0],
            explanation.heatmap.affine.numpy(),
            explanation.record(),
            volume_node,
            segmentation=segmentation_node,
        )
        for explanation in explanations
    ]
    for node, explanation in zip(heatmap_nodes, explanations, strict=True):
        if explanation.deviation is not None:
            add_deviation(node, image_of(explanation.deviation.numpy()[0]))
    show_volume(scene, volume_node)  # what is there when the heat map is switched off
    show_overlay(scene, volume_node, heatmap_nodes[0])
    jump_slices(scene, peak_position(heatmap_nodes[0]).position)
    ids = segment_ids(segmentation_node)
    shown = [] if first.segmentation is None else [ids[model.labels.index(first.label)]]
    shown += [] if first.chosen is None else [ids[-1]]
    finish(slice_picture_steps(folder / OVERLAY, volume_node, heatmap_nodes[0], segmentation_node, segments=shown))
    if len(explanations) > 1:
        draw = comparison_picture if len(explanations) <= COLUMNS else gallery_picture
        draw(folder / COMPARISON, volume_node, heatmap_nodes, segmentation_node, segments=shown)
    if first.check is not None:
        check_picture(folder / CHECK_FIGURE, first.record())
    save_scene(scene, folder / SCENE)


def _name_of(volume: MetaTensor) -> str:
    """What 3D Slicer calls a volume that it loads from this file."""
    name = plain(Path(str(volume.meta.get("filename_or_obj", ""))).name)
    return name.partition(".")[0] or "Volume"


def _add_segments(scene: Any, model: SegmentationModel, explanation: Explanation, volume_node: Any) -> Any:
    """What the model segmented, and last what was explained where that is something else."""
    node = None
    if explanation.segmentation is not None:
        segments = [Segment(one.name, one.value, one.color, one.terminology) for one in model.labels]
        labels = explanation.segmentation.labels
        name = f"{model.name} segmentation"
        node = add_segmentation(scene, labels.numpy()[0], labels.affine.numpy(), segments, volume_node, name=name)
    if explanation.chosen is not None:
        voxels, affine = explanation.chosen.numpy()[0], explanation.chosen.affine.numpy()
        chosen = Segment(f"explained region: {explanation.region.title}", 1, CHOSEN_COLOR, id="explained")
        if node is None:
            return add_segmentation(scene, voxels, affine, [chosen], volume_node, name="Explained region")
        add_segment(node, voxels, affine, chosen)
    return node
