"""Volume nodes go to the worker, segmentations and heat maps come back as nodes beside them.

Nothing is added to the scene before a request has succeeded, so a failed or killed worker leaves the scene as it was. What takes time on
the way is done by the worker or in a thread; the thread that polls only hands finished images to the scene.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SegHiResCAMLib.logic.asked_again import keep_asked, reference_of
from SegHiResCAMLib.logic.export import check_export, export_steps
from SegHiResCAMLib.logic.images import voxels_of
from SegHiResCAMLib.logic.job import ExplainerError, Job, Report
from SegHiResCAMLib.records.question import Axis, Question, SegmentOptions
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.folders import put_with, table_name
from SegHiResCAMLib.scene.heatmap import MEASUREMENTS, add_deviation, add_heatmap, prepare_map
from SegHiResCAMLib.scene.kept_comparison import comparison_of
from SegHiResCAMLib.scene.segments import (
    Segment,
    add_segmentation,
    prepare_labels,
    segment_reader,
    set_model_of,
)
from SegHiResCAMLib.scene.table import add_measurements_table
from SegHiResCAMLib.scene.volumes import image_of
from SegHiResCAMLib.turns import Steps
from SegHiResCAMLib.worker import protocol
from SegHiResCAMLib.worker.client import Client
from SegHiResCAMLib.worker.protocol import Explained, LayersListed, Progress, Result, Segmented, Task, Voxels

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLScene, vtkMRMLSegmentationNode

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
        """Download a model of the catalogue, as far as it is not there; the result is a `ModelPath`."""
        return self.ask(protocol.GetModel(name), _answer, callbacks)

    def open_model(self, model: str, **callbacks: Any) -> Job:
        """What a model is and which methods there are; the result is a `ModelOpened`."""
        return self.ask(protocol.OpenModel(model), _answer, callbacks)

    def layers(
        self,
        model: str,
        volume: vtkMRMLScalarVolumeNode | None = None,
        *,
        further: Sequence[vtkMRMLScalarVolumeNode] = (),
        axis: Axis = "auto",
        extent_mm: float | None = None,
        **callbacks: Any,
    ) -> Job:
        """Which layers a model has, on a volume's grid and for a segment of a size where these are given; the result is a `LayerList`."""
        voxels = None if volume is None else voxels_of(volume, further)
        return self.ask(protocol.Layers(model, voxels, axis, extent_mm), _layers, callbacks)

    def segment(
        self,
        volume: vtkMRMLScalarVolumeNode,
        model: str,
        options: SegmentOptions | None = None,
        *,
        further: Sequence[vtkMRMLScalarVolumeNode] = (),
        **callbacks: Any,
    ) -> Job:
        """Segment a volume with a model; the result is a vtkMRMLSegmentationNode beside the volume.

        Args:
            volume: A vtkMRMLScalarVolumeNode.
            model: File or folder.
            options: How; None for the defaults.
            further: Volumes that are the model's further channels.
            callbacks: See `Job`.

        Raises:
            SceneError: A volume has no voxels, or they do not lie on one grid.
        """
        request = protocol.SegmentVolume(model, voxels_of(volume, further), options or SegmentOptions())
        affine = np.array(request.volume.affine)

        def finish(result: Result, _report: Report) -> Steps:
            assert isinstance(result.answer, Segmented)
            made_by = result.answer.model
            segments = [Segment(one.name, one.value, one.color, one.terminology) for one in made_by.labels]
            image = yield lambda: prepare_labels(result.arrays["labels"], affine, segments)
            name = f"{made_by.name} segmentation"
            node = add_segmentation(scene_of(volume), image, affine, segments, volume, name=name)
            set_model_of(node, made_by.name, made_by.sha256)
            return node

        return self.ask(request, finish, callbacks)

    def explain(
        self,
        volume: vtkMRMLScalarVolumeNode,
        model: str,
        question: Question,
        *,
        further: Sequence[vtkMRMLScalarVolumeNode] = (),
        segmentation: vtkMRMLSegmentationNode | None = None,
        drawn_segment: str | None = None,
        reference: vtkMRMLSegmentationNode | None = None,
        **callbacks: Any,
    ) -> Job:
        """Explain a segment; the result is the signed heat map, a vtkMRMLScalarVolumeNode beside the volume.

        Args:
            volume: What was segmented.
            model: That segments.
            question: What is asked; places are in the volume's own RAS millimetres.
            further: Volumes that are the model's further channels.
            segmentation: The vtkMRMLSegmentationNode that the heat map belongs to.
            drawn_segment: Id of a segment in it, whose voxels are explained in place of those that the model predicts.
            reference: The vtkMRMLSegmentationNode of what should have been segmented, for regions that are mistakes.
            callbacks: See `Job`.

        Raises:
            SceneError: A volume has no voxels, they do not lie on one grid, or there is no segmentation with such a segment.
        """
        voxels = voxels_of(volume, further)
        mask = drawn_mask(volume, voxels, segmentation, drawn_segment)
        labels, names = (None, ()) if reference is None else reference_of(reference, volume)

        def finish(result: Result, _report: Report) -> Steps:
            assert isinstance(result.answer, Explained)
            record = result.answer.record
            if reference is not None:
                record = replace(record, comparison=comparison_of(reference, volume, record.model.sha256))
            image = yield lambda: prepare_map(result.arrays["signed_map"])
            scene = scene_of(volume)
            kept = segmentation if segmentation is not None and segmentation.GetScene() is scene else None
            node = add_heatmap(scene, image, np.array(voxels.affine), record, volume, segmentation=kept)
            keep_asked(node, further, drawn_segment, reference)
            if "deviation" in result.arrays:
                add_deviation(node, (yield lambda: image_of(result.arrays["deviation"])))
            if record.measurements is not None:
                name = table_name(node.GetName())
                table = add_measurements_table(
                    scene, record.measurements, name, units=record.units, score_explained=record.score_explained
                )
                put_with(scene, table, node)
                node.SetNodeReferenceID(MEASUREMENTS, table.GetID())
            return node

        request = protocol.Explain(model, voxels, question, mask, labels, reference_names=names)
        return self.ask(request, finish, callbacks)

    def export(
        self,
        heatmap: vtkMRMLScalarVolumeNode,
        folder: Path,
        *,
        file_format: str = "nrrd",
        opacity: float = 0.5,
        **callbacks: Any,
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
        job.begin()
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

    def use(self, client: Client) -> None:
        """Ask another client from now on; what is being done is cancelled."""
        for job in list(self._jobs.values()):
            self.cancel(job)
        self._leaving.clear()
        self.client.close()
        self.client = client

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

    def ask(
        self,
        request: Task,
        steps: Callable[[Result, Report], Steps],
        callbacks: Mapping[str, Any],
    ) -> Job:
        """Ask the worker; `steps` do here what is left to do with its result."""
        job = Job(0, steps, **callbacks)  # before the worker is asked: a callback of a wrong name ends here
        job.identifier = self.client.submit(request)
        self._jobs[job.identifier] = job
        return job


def _let_go(job: Job, _future: Any) -> None:
    job.let_go()


def _answer(result: Result, _report: Report) -> Steps:
    yield from ()  # nothing is left to do
    return result.answer


def _layers(result: Result, _report: Report) -> Steps:
    yield from ()
    assert isinstance(result.answer, LayersListed)
    return result.answer.layers


def drawn_mask(
    volume: vtkMRMLScalarVolumeNode,
    voxels: Voxels,
    segmentation: vtkMRMLSegmentationNode | None,
    drawn_segment: str | None,
) -> Voxels | None:
    """The voxels of a drawn segment on a volume's grid; None for no segment.

    Raises:
        SceneError: There is no segmentation with such a segment.
    """
    if drawn_segment is None:
        return None
    if segmentation is None:
        message = f"The segment '{drawn_segment}' was chosen, but no segmentation was given. Give the segmentation that contains it."
        raise SceneError(message)
    return Voxels(voxels.affine, segment_reader(segmentation, drawn_segment, volume))


def scene_of(volume: vtkMRMLScalarVolumeNode) -> vtkMRMLScene:
    """The scene that has a volume.

    Raises:
        SceneError: It was deleted.
    """
    scene: vtkMRMLScene | None = volume.GetScene()
    if scene is None:
        message = f"'{volume.GetName()}' was deleted while it was being processed, so the result was discarded. Load it again."
        raise SceneError(message)
    return scene
