"""Volume nodes go to the worker, segmentations and heat maps come back as nodes beside them.

Nothing is added to the scene before a request has succeeded, so a failed or killed worker leaves the scene as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from SegHiResCAMLib.logic.job import ExplainerError, Job
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import add_heatmap
from SegHiResCAMLib.scene.segments import Segment, add_segmentation, segment_array
from SegHiResCAMLib.scene.volumes import volume_array
from SegHiResCAMLib.terminology import Code, Terminology
from SegHiResCAMLib.worker import protocol
from SegHiResCAMLib.worker.client import Client
from SegHiResCAMLib.worker.protocol import Result, Voxels

POLL_SECONDS = 0.02


class Explainer:
    """Requests about nodes of a scene.

    Every request returns a `Job` at once. `poll`, called by a timer, moves all jobs on and calls their callbacks; `wait` blocks until one
    job has ended. Callbacks: see `Job`.

    Args:
        client: Of the worker.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._jobs: dict[int, Job] = {}

    def open_model(self, model: str, **callbacks: Any) -> Job:
        """What a model is: name, labels, licence, methods; the result is a dictionary."""
        return self._start(protocol.OpenModel(model), lambda result: result.facts, callbacks)

    def layers(self, model: str, volume: Any = None, *, axis: str = "axial", **callbacks: Any) -> Job:
        """Which layers a model has, on a volume's grid where one is given; the result is a dictionary."""
        voxels = None if volume is None else _voxels(volume)
        return self._start(protocol.Layers(model, voxels, axis), lambda result: result.facts, callbacks)

    def segment(
        self,
        volume: Any,
        model: str,
        *,
        mode: str = "auto",
        axis: str = "axial",
        device: str = "auto",
        **callbacks: Any,
    ) -> Job:
        """Outline what a model knows; the result is a vtkMRMLSegmentationNode beside the volume.

        Raises:
            SceneError: The volume has no voxels.
        """
        request = protocol.Segment(model, _voxels(volume), mode, axis, device)

        def receive(result: Result) -> Any:
            facts, labels = result.facts["model"], result.arrays["labels"]
            segments = [_segment(label) for label in facts["labels"]]
            affine = np.array(request.volume.affine)
            name = f"{facts['name']} segmentation"
            return add_segmentation(_scene_of(volume), labels, affine, segments, volume, name=name)

        return self._start(request, receive, callbacks)

    def explain(
        self,
        volume: Any,
        model: str,
        segment: str,
        *,
        segmentation: Any = None,
        pixel_set: str | None = None,
        method: str = "seg-hires-grad-cam",
        layer: str | None = None,
        mode: str = "auto",
        axis: str = "axial",
        device: str = "auto",
        **callbacks: Any,
    ) -> Job:
        """Explain a segment; the result is the heat map, a vtkMRMLScalarVolumeNode beside the volume.

        Args:
            volume: What was segmented.
            model: That segments.
            segment: One of the model's labels.
            segmentation: The vtkMRMLSegmentationNode that the heat map belongs to.
            pixel_set: Id of a segment in it, whose voxels are explained in place of those that the model outlines.
            method: One of those that `open_model` names.
            layer: One of those that `layers` names; None for the suggested one.
            mode: "auto", "slice-wise" or "volumetric".
            axis: Of slices, for 2D networks.
            device: "auto", "cuda", "mps" or "cpu".
            callbacks: See `Job`.

        Raises:
            SceneError: The volume has no voxels, the segmentation no such segment.
        """
        voxels = _voxels(volume)
        mask = None
        if pixel_set is not None:
            mask = Voxels(voxels.affine, segment_array(segmentation, pixel_set, volume).astype(np.uint8))
        request = protocol.Explain(model, voxels, segment, method, layer, mode, axis, device, mask)

        def receive(result: Result) -> Any:
            heatmap = np.maximum(result.arrays["signed_map"], 0)
            scene = _scene_of(volume)
            kept = segmentation if segmentation is not None and segmentation.GetScene() is scene else None
            facts = node_facts(result.facts)
            return add_heatmap(scene, heatmap, np.array(voxels.affine), facts, volume, segmentation=kept)

        return self._start(request, receive, callbacks)

    def poll(self) -> None:
        """Move all jobs on; never blocks."""
        for identifier, event in self.client.poll():
            job = self._jobs.get(identifier)
            if job is None:
                continue
            job.tell(event)
            if job.done:
                self._jobs.pop(identifier, None)

    def wait(self, job: Job) -> Any:
        """Block until a job has ended; all others move on meanwhile.

        Returns:
            Its result.

        Raises:
            ExplainerError: It failed or was cancelled.
        """
        while not job.done:
            self.poll()
            time.sleep(POLL_SECONDS)
        if job.error:
            raise ExplainerError(job.error)
        return job.result

    def cancel(self, job: Job) -> None:
        """Give a job up; its error, "cancelled", comes within two seconds."""
        self.client.cancel(job.identifier)

    @property
    def is_busy(self) -> bool:
        """Whether any job has not ended."""
        return bool(self._jobs)

    def close(self) -> None:
        """End the worker."""
        self.client.close()

    def _start(self, request: Any, receive: Callable[[Result], Any], callbacks: Mapping[str, Any]) -> Job:
        job = Job(self.client.submit(request), receive, **callbacks)
        self._jobs[job.identifier] = job
        return job


def node_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    """What a heat map's node is told of its explanation: the provenance, and the numbers that make it comparable."""
    return {
        **facts["provenance"],
        "score": repr(facts["score"]),
        "minimum": repr(facts["minimum"]),
        "peakRas": " ".join(f"{coordinate:.3f}" for coordinate in facts["peak_ras_mm"]),
        "pixelCount": str(facts["pixel_count"]),
    }


def _voxels(volume: Any) -> Voxels:
    return Voxels.of(*volume_array(volume))


def _scene_of(volume: Any) -> Any:
    scene = volume.GetScene()
    if scene is None:
        sentence = f"The volume {volume.GetName()} was removed meanwhile, so its result was thrown away: load it again."
        raise SceneError(sentence)
    return scene


def _segment(label: Mapping[str, Any]) -> Segment:
    coded = label["terminology"]
    codes = coded and [Code(**coded[name]) if coded[name] else None for name in ("category", "type", "region")]
    return Segment(label["name"], label["value"], tuple(label["color"]), Terminology(*codes) if codes else None)
