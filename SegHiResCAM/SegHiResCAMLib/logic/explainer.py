"""Volume nodes go to the worker, segmentations and heat maps come back as nodes beside them.

Nothing is added to the scene before a request has succeeded, so a failed or killed worker leaves the scene as it was. What takes time on
the way is done by the worker or in a thread; the thread that polls only hands finished images to the scene.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from SegHiResCAMLib.logic.export import check_export, export_steps
from SegHiResCAMLib.logic.images import voxels_of
from SegHiResCAMLib.logic.job import ExplainerError, Job, Report
from SegHiResCAMLib.provenance import node_facts
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import MEASUREMENTS, add_heatmap, prepare_map
from SegHiResCAMLib.scene.segments import (
    Segment,
    add_segmentation,
    prepare_labels,
    segment_reader,
    set_model_of,
)
from SegHiResCAMLib.scene.table import add_measurements_table
from SegHiResCAMLib.terminology import Code, Terminology
from SegHiResCAMLib.turns import Steps
from SegHiResCAMLib.worker import protocol
from SegHiResCAMLib.worker.client import Client
from SegHiResCAMLib.worker.protocol import Progress, Result, Voxels

POLL_SECONDS = 0.02

TURN_SECONDS = 0.02
"""That a poll without a step of its own leaves to the thread: 3D Slicer's event loop keeps Python to itself, so the thread has its turn then."""


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
        self._leaving: set[int] = set()  # were cancelled, but the worker has not ended them yet
        self._abandoned: list[Job] = []  # were cancelled, but the thread has not ended them yet
        self._events: deque[tuple[int, Any]] = deque()
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="seghirescam")
        self._own_numbers = count(-1, -1)

    def get_model(self, name: str, **callbacks: Any) -> Job:
        """Download a model of the catalogue, as far as it is not there; the result is a dictionary with its "path"."""
        return self._ask(protocol.GetModel(name), _facts, callbacks)

    def open_model(self, model: str, **callbacks: Any) -> Job:
        """What a model is: name, labels, licence, methods; the result is a dictionary."""
        return self._ask(protocol.OpenModel(model), _facts, callbacks)

    def layers(
        self,
        model: str,
        volume: Any = None,
        *,
        further: Sequence[Any] = (),
        axis: str = "auto",
        extent_mm: float | None = None,
        **callbacks: Any,
    ) -> Job:
        """Which layers a model has, on a volume's grid and for a segment of a size where these are given; the result is a dictionary."""
        voxels = None if volume is None else voxels_of(volume, further)
        return self._ask(protocol.Layers(model, voxels, axis, extent_mm), _facts, callbacks)

    def segment(
        self,
        volume: Any,
        model: str,
        *,
        further: Sequence[Any] = (),
        mode: str = "auto",
        axis: str = "auto",
        device: str = "auto",
        **callbacks: Any,
    ) -> Job:
        """Segment a volume with a model; the result is a vtkMRMLSegmentationNode beside the volume.

        Args:
            volume: A vtkMRMLScalarVolumeNode.
            model: File or folder.
            further: Volumes that are the model's further channels.
            mode: "auto", "slice-wise" or "volumetric".
            axis: Of slices, for 2D networks: "auto", "axial", "coronal" or "sagittal".
            device: "auto", "cuda", "mps" or "cpu".
            callbacks: See `Job`.

        Raises:
            SceneError: A volume has no voxels, or they do not lie on one grid.
        """
        request = protocol.Segment(model, voxels_of(volume, further), mode, axis, device)
        affine = np.array(request.volume.affine)

        def finish(result: Result, _report: Report) -> Steps:
            facts = result.facts["model"]
            segments = [_segment(label) for label in facts["labels"]]
            image = yield lambda: prepare_labels(result.arrays["labels"], affine, segments)
            name = f"{facts['name']} segmentation"
            node = add_segmentation(_scene_of(volume), image, affine, segments, volume, name=name)
            set_model_of(node, facts["name"], facts["sha256"])
            return node

        return self._ask(request, finish, callbacks)

    def explain(
        self,
        volume: Any,
        model: str,
        segment: str,
        *,
        further: Sequence[Any] = (),
        segmentation: Any = None,
        pixel_set: str | Mapping[str, Any] | None = None,
        method: str = "seg-hires-grad-cam",
        layer: str | None = None,
        mode: str = "auto",
        axis: str = "auto",
        device: str = "auto",
        method_options: Mapping[str, Any] | None = None,
        contrast: str | None = None,
        contrast_weight: float = 1.0,
        refine_with: Sequence[str] = (),
        refine: str = "product",
        **callbacks: Any,
    ) -> Job:
        """Explain a segment; the result is the signed heat map, a vtkMRMLScalarVolumeNode beside the volume.

        Args:
            volume: What was segmented.
            model: That segments.
            segment: One of the model's labels.
            further: Volumes that are the model's further channels.
            segmentation: The vtkMRMLSegmentationNode that the heat map belongs to.
            pixel_set: Id of a segment in it, whose voxels are explained in place of those that the model predicts; or a pixel set as the
                engine writes it, {"kind": "sphere", "centre": [...], "radius": 10}, in the volume's own RAS millimetres.
            method: One of those that `open_model` names.
            layer: One of those that `layers` names; None for the suggested one.
            mode: "auto", "slice-wise" or "volumetric".
            axis: Of slices, for 2D networks: "auto", "axial", "coronal" or "sagittal".
            device: "auto", "cuda", "mps" or "cpu".
            method_options: Of the method, by name, as `open_model` lists them.
            contrast: The contrast class, a label or "background".
            contrast_weight: How much the contrast class counts.
            refine_with: Further layers, whose maps are combined with that of `layer`.
            refine: How they are combined: their "product" or their "mean".
            callbacks: See `Job`.

        Raises:
            SceneError: A volume has no voxels, they do not lie on one grid, or there is no segmentation with such a segment.
        """
        voxels = voxels_of(volume, further)
        mask = None
        if isinstance(pixel_set, str):
            if segmentation is None:
                sentence = f"The segment '{pixel_set}' is to be explained, but no segmentation was given. Give the segmentation that contains it."
                raise SceneError(sentence)
            mask = Voxels(voxels.affine, segment_reader(segmentation, pixel_set, volume))
        request = protocol.Explain(
            model, voxels, segment, method, layer, mode, axis, device,
            mask=mask,
            pixel_set=None if isinstance(pixel_set, str | None) else dict(pixel_set),
            method_options=dict(method_options or {}),
            contrast=contrast,
            contrast_weight=contrast_weight,
            refine_with=tuple(refine_with),
            refine=refine,
        )  # fmt: skip

        def finish(result: Result, _report: Report) -> Steps:
            facts = result.facts
            image = yield lambda: prepare_map(result.arrays["signed_map"])
            scene = _scene_of(volume)
            kept = segmentation if segmentation is not None and segmentation.GetScene() is scene else None
            node = add_heatmap(scene, image, np.array(voxels.affine), node_facts(facts), volume, segmentation=kept)
            if facts.get("measurements"):
                name = f"{node.GetName()}, measurements"
                table = add_measurements_table(scene, facts["measurements"], name, units=facts["provenance"]["units"])
                node.SetNodeReferenceID(MEASUREMENTS, table.GetID())
                node.SetAttribute("SegHiResCAM.measurements", json.dumps(facts["measurements"]))
            return node

        return self._ask(request, finish, callbacks)

    def export(
        self, heatmap: Any, folder: Path, *, file_format: str = "nrrd", opacity: float = 0.5, **callbacks: Any
    ) -> Job:
        """Write everything that belongs to a heat map into a folder; the result is an `Exported`. See `export_steps`.

        Raises:
            SceneError: The node is no heat map, or the format cannot hold it.
        """
        check_export(heatmap, file_format)
        return self.run(
            lambda report: export_steps(heatmap, folder, report, file_format=file_format, opacity=opacity), **callbacks
        )

    def compute(self, work: Callable[[], Any], receive: Callable[[Any], Any], **callbacks: Any) -> Job:
        """Do something here that takes time and needs no worker: `work` in a thread, `receive` with its result in this one."""

        def steps(_report: Report) -> Steps:
            return receive((yield work))

        return self.run(steps, **callbacks)

    def run(self, steps: Callable[[Report], Steps], **callbacks: Any) -> Job:
        """Do something here in steps, which needs no worker."""
        job = Job(next(self._own_numbers), lambda _result, report: steps(report), **callbacks)
        self._jobs[job.identifier] = job
        job.tell(Result({}))
        return job

    def poll(self) -> None:
        """Move all jobs on; takes milliseconds."""
        self._events.extend(self.client.poll())
        while self._events:  # one at a time: a callback that fails shall not take the others with it
            identifier, event = self._events.popleft()
            if identifier in self._jobs:
                self._jobs[identifier].tell(event)
            elif not isinstance(event, Progress):
                self._leaving.discard(identifier)
        self._abandoned = [job for job in self._abandoned if not job.let_go()]
        for job in list(self._jobs.values()):
            moved = job.settle(self._background)
            if job.done:
                self._jobs.pop(job.identifier, None)
            if moved:
                return  # one step a poll: several might take too long together
        wait([job.in_thread for job in self._jobs.values() if job.in_thread], TURN_SECONDS)

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
        """Cancel a job: it ends at once with the error "cancelled", and whatever computes for it within two seconds."""
        if job.is_with_worker:
            self._leaving.add(job.identifier)
            self.client.cancel(job.identifier)
        job.give_up()
        if job.done:
            self._jobs.pop(job.identifier, None)
        if job.error and not job.let_go():
            self._abandoned.append(job)

    @property
    def is_busy(self) -> bool:
        """Whether any job has not ended, or worker or thread still work for one that was cancelled."""
        return bool(self._jobs or self._leaving or self._abandoned)

    def close(self) -> None:
        """End the worker, and cancel what is being done; no callback is called."""
        for job in [*self._jobs.values(), *self._abandoned]:
            job.abandon()
            if not job.let_go() and job.in_thread is not None:  # nobody polls any more
                job.in_thread.add_done_callback(partial(_let_go, job))
        self._jobs.clear()
        self._abandoned.clear()
        self._leaving.clear()
        self.client.close()
        self._background.shutdown(wait=False, cancel_futures=True)

    def _ask(
        self,
        request: Any,
        steps: Callable[[Result, Report], Steps],
        callbacks: Mapping[str, Any],
    ) -> Job:
        job = Job(0, steps, **callbacks)  # before the worker is asked: a callback of a wrong name ends here
        job.identifier = self.client.submit(request)
        self._jobs[job.identifier] = job
        return job


def _let_go(job: Job, _future: Any) -> None:
    job.let_go()


def _facts(result: Result, _report: Report) -> Steps:
    yield from ()  # nothing is left to do
    return result.facts


def _scene_of(volume: Any) -> Any:
    scene = volume.GetScene()
    if scene is None:
        sentence = f"'{volume.GetName()}' was deleted while it was being processed, so the result was discarded. Load it again."
        raise SceneError(sentence)
    return scene


def _segment(label: Mapping[str, Any]) -> Segment:
    coded = label["terminology"]
    codes = coded and [Code(**coded[name]) if coded[name] else None for name in ("category", "type", "region")]
    return Segment(label["name"], label["value"], tuple(label["color"]), Terminology(*codes) if codes else None)
