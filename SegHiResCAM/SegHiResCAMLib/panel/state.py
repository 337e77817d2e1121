"""What the sections of the panel share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegHiResCAMLib.panel.work import Work
from SegHiResCAMLib.records.mistakes import Comparison, Mistake
from SegHiResCAMLib.records.models import LayerList, MethodSummary, ModelSummary
from SegHiResCAMLib.scene.kept_comparison import comparison_of
from SegHiResCAMLib.scene.segments import segment_ids

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode

VOLUMES = ("inputVolume", "inputVolume2", "inputVolume3", "inputVolume4")
"""Parameters: the volumes that a model takes, in the order of its channels."""


@dataclass
class State:
    """Logic, widgets, choices, and what is known of the chosen model.

    Attributes:
        logic: A SegHiResCAMLogic.
        ui: The panel's widgets by name.
        work: What runs.
        refresh: Brings every section in line with the choices.
        parameters: The SegHiResCAMParameterNode, None while the module is not shown.
        model: What the chosen model is; None until it is open.
        methods: That can be applied to it.
        layers: Its layers; None until they are known.
        is_pending: Whether the chosen model must be downloaded first.
        kept_model: Path of the last model that was opened, for the next patient; empty where the user has chosen none.
    """

    logic: Any
    ui: Any
    work: Work
    refresh: Callable[[], None]
    parameters: Any = None
    model: ModelSummary | None = None
    methods: tuple[MethodSummary, ...] = ()
    layers: LayerList | None = None
    is_pending: bool = False
    kept_model: str = ""

    @property
    def choices(self) -> Any:
        """The parameter node, while the module is not shown, too: a result may come then."""
        return self.parameters or self.logic.getParameterNode()

    @property
    def model_path(self) -> str:
        """Of the chosen model; empty where none is chosen."""
        path = self.parameters.modelPath
        return "" if path in (None, Path()) else str(path)

    @property
    def volumes(self) -> list[vtkMRMLScalarVolumeNode | None]:
        """The chosen volumes, one for each of the model's inputs; None where one is missing."""
        count = self.model.in_channels if self.model else 1
        return [getattr(self.parameters, name) for name in VOLUMES[:count]]

    def method(self, identifier: str) -> MethodSummary | None:
        """One of the methods; None where there is none of that name."""
        return next((one for one in self.methods if one.identifier == identifier), None)

    @property
    def comparison(self) -> Comparison | None:
        """What was found when the chosen model's segmentation of the chosen volume was compared with the chosen reference."""
        parameters = self.parameters
        if self.model is None or parameters.inputVolume is None:
            return None
        return comparison_of(parameters.reference, parameters.inputVolume, self.model.sha256)

    @property
    def mistake(self) -> Mistake | None:
        """The chosen one of these; None where there is none."""
        found, number = self.comparison, self.parameters.mistake
        return found.mistakes[number] if found is not None and 0 <= number < len(found.mistakes) else None

    @property
    def labels(self) -> list[str]:
        """What the model segments."""
        return [label.name for label in self.model.labels] if self.model else []

    @property
    def segment_name(self) -> str:
        """The chosen segment's name; empty where none is chosen."""
        node, chosen = self.parameters.segmentation, self.parameters.segmentId
        if node is None:
            return str(chosen) if chosen in self.labels else ""
        return node.GetSegmentation().GetSegment(chosen).GetName() if chosen in segment_ids(node) else ""

    @property
    def label(self) -> str:
        """What the model calls the chosen segment: the same name, or the one that the user said; empty where nobody knows."""
        name = self.segment_name
        same = [label for label in self.labels if label.casefold() == name.casefold()]
        said = [self.parameters.label] if name and self.parameters.label in self.labels else []
        return (same or said or [""])[0]
