"""The section "Review a study": case after case of a cohort, rated by a reader; every rating is on the disk before the next case opens."""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.findings import rounded
from SegHiResCAMLib.panel.rating_form import RatingForm
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import fill_table, silent
from SegHiResCAMLib.resources import resource
from SegHiResCAMLib.review.answer_file import AnswerFile, RatingFacts, answers_of
from SegHiResCAMLib.review.form import read_form
from SegHiResCAMLib.review.reviewed_study import ReviewCase, ReviewedStudy, in_order, open_study
from SegHiResCAMLib.review.scene_archive import check_scene
from SegHiResCAMLib.user_error import UserError

READER = "SegHiResCAM/Reader"
"""Key of the application's settings."""

RATED = "✓"
_CHUNK = 2**22
_WIDEST = 24  # characters of a column
_LONG_NUMBER = 8  # characters; names of cases are not so long numbers with a point


@dataclass
class Reading:
    """A review that is going on.

    Attributes:
        study: That is read.
        cases: In the reader's order.
        answers: Where the reader's answers go.
        rated: The reader's last answer about each case, by its name.
        reader: Who reads.
        hidden_first: Whether heat maps are hidden when a case opens.
        current: Number of the case that is open; -1 for none.
        opened: When it was.
        seen: When its heat map was first seen; None where it was not yet.
    """

    study: ReviewedStudy
    cases: list[ReviewCase]
    answers: AnswerFile
    rated: dict[str, dict[str, str]]
    reader: str
    hidden_first: bool
    current: int = -1
    opened: float = 0.0
    seen: float | None = None

    @property
    def case(self) -> ReviewCase | None:
        """That is open."""
        return self.cases[self.current] if self.current >= 0 else None

    def next_unrated(self) -> int | None:
        """Number of the first case after the current one, from the start again at the end, that is not rated; None where all are."""
        order = [(self.current + 1 + step) % len(self.cases) for step in range(len(self.cases))]
        return next((number for number in order if self.cases[number].name not in self.rated), None)


class ReviewSection:
    """A widget for the end of the panel.

    Args:
        state: Of the panel, which shows the cases' heat maps.

    Attributes:
        widget: It.
        ui: Its widgets by name.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.widget = slicer.util.loadUI(str(resource("UI", "Review.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._form = RatingForm(self.ui.reviewAnswers.layout(), self._show_buttons)
        self._reading: Reading | None = None
        self._own: frozenset[str] = frozenset()  # volumes that may be closed: those of the case
        self._agreed: frozenset[str] = frozenset()  # volumes that the user was told will be closed
        ui = self.ui
        ui.readerEdit.text = str(qt.QSettings().value(READER) or "")
        ui.startReviewButton.connect("clicked(bool)", lambda _checked: self._start())
        ui.previousCaseButton.connect("clicked(bool)", lambda _checked: self._step(-1))
        ui.nextCaseButton.connect("clicked(bool)", lambda _checked: self._step(1))
        ui.showMapButton.connect("clicked(bool)", lambda _checked: self._show_map())
        ui.saveRatingButton.connect("clicked(bool)", lambda _checked: self._save())
        ui.reviewTable.connect("cellDoubleClicked(int,int)", lambda row, _column: self._open(row))
        self._show_reading()

    def refresh(self) -> None:
        """Notice what was done elsewhere: the scene was closed, or the heat map switched on."""
        reading, parameters = self._reading, self._state.parameters
        if reading is None or reading.case is None:
            return
        if parameters.heatmap is None:
            reading.current, self._own = -1, frozenset()
            self._show_buttons()
        elif reading.seen is None and parameters.overlayVisible:
            reading.seen = time.monotonic()
            self._show_buttons()

    # From the study to its cases

    def _start(self) -> None:
        """Begin, or begin again; a scene with something in it is closed only at the second press."""
        reader = str(self.ui.readerEdit.text).strip()
        try:
            if not reader:
                self._say(_("Type who reads: a name or a number."))
                return
            study = open_study(Path(str(self.ui.studyFolderButton.directory)))
            answers = answers_of(study.folder, reader, read_form(study.folder))
            rated = answers.read()
        except UserError as problem:
            self._say(problem.message)
            return
        if not self._may_close():
            return
        qt.QSettings().setValue(READER, reader)
        hidden_first = bool(self.ui.hiddenFirstCheckBox.checked)
        cases = in_order(study.cases, int(self.ui.orderSpinBox.value))
        self._reading = Reading(study, cases, answers, rated, reader, hidden_first)
        self._form.ask(answers.form)
        self._show_reading()
        self._open(self._reading.next_unrated() or 0)

    def _may_close(self) -> bool:
        """Whether nothing is in the scene but a case; volumes of the user's own are closed when the button is pressed once more."""
        others = _volume_ids() - self._own
        if not others or others == self._agreed:
            self._own, self._agreed = self._own | others, frozenset()
            return True
        self._agreed = others
        self._say(
            _("The scene has volumes of your own and would be closed. Save it if you need it, then press once more.")
        )
        return False

    # From case to case

    def _step(self, step: int) -> None:
        if self._reading is not None:
            self._open(self._reading.current + step)

    def _open(self, number: int) -> None:
        """Show a case; the file of the one after it is read ahead."""
        reading = self._reading
        if reading is None or not 0 <= number < len(reading.cases) or not self._may_close():
            return
        case = reading.cases[number]
        try:
            check_scene(case.scene)
        except UserError as problem:
            self._say(problem.message)
            return
        slicer.mrmlScene.Clear(0)
        self._own = frozenset()
        if not slicer.mrmlScene.ReadFromMRB(str(case.scene)):
            reading.current = -1
            self._say(
                _(
                    "The scene of {case} cannot be opened ({file}). Run the study once more, or open another case."
                ).format(case=case.name, file=case.scene)
            )
            self._show_buttons()
            return
        self._state.choices.overlayVisible = not reading.hidden_first
        self._state.refresh()
        self._own = _volume_ids()
        reading.current, reading.opened = number, time.monotonic()
        reading.seen = None if reading.hidden_first else reading.opened
        self._form.show(reading.rated.get(case.name, {}))
        with silent(self.ui.reviewTable):
            self.ui.reviewTable.selectRow(number)
        self._say(
            _("{case}: case {number} of {all}; {rated} rated.").format(
                case=case.name, number=number + 1, all=len(reading.cases), rated=len(reading.rated)
            )
        )
        self._show_buttons()
        if number + 1 < len(reading.cases):
            self._read_ahead(reading.cases[number + 1].scene)

    def _read_ahead(self, scene: Path) -> None:
        """So that the system has the next case in memory when it is asked for."""
        explainer = self._state.logic.explainer
        self._state.work.ask(
            lambda **callbacks: explainer.compute(lambda: _read(scene), lambda _nothing: None, **callbacks),
            lambda _nothing: None,
        )

    def _show_map(self) -> None:
        self._state.choices.overlayVisible = True
        self.refresh()

    # What the reader says

    def _save(self) -> None:
        reading = self._reading
        if reading is None or reading.case is None:
            return
        if self._form.missing:
            self._say(_("Answer first: {questions}.").format(questions="; ".join(self._form.missing)))
            return
        now = time.monotonic()
        facts = RatingFacts(
            time=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            reader=reading.reader,
            case=reading.case.name,
            position=reading.current + 1,
            map="hidden" if reading.hidden_first else "shown",
            seconds=now - reading.opened,
            seconds_hidden=None if reading.seen is None else reading.seen - reading.opened,
            options=reading.study.options,
        )
        answers = self._form.answers
        try:
            reading.answers.append(facts, answers)
        except UserError as problem:
            self._say(problem.message)
            return
        reading.rated[reading.case.name] = answers
        self.ui.reviewTable.item(reading.current, 0).setText(RATED)
        following = reading.next_unrated()
        if following is None:
            self._say(_("All cases are rated. Your answers are in {file}.").format(file=reading.answers.path))
        else:
            self._open(following)

    # What is seen

    def _show_reading(self) -> None:
        ui, reading = self.ui, self._reading
        for widget in (ui.reviewTable, ui.reviewAnswers, ui.saveRatingButton):
            widget.visible = reading is not None
        for widget in (ui.previousCaseButton, ui.showMapButton, ui.nextCaseButton):
            widget.visible = reading is not None
        if reading is None:
            return
        rows = [(RATED if one.name in reading.rated else "", *one.cells) for one in reading.cases]
        columns = range(1, len(reading.study.columns) + 1)
        shown = [[_short_number(text) for text in row] for row in rows]
        longest = dict.fromkeys(columns, _WIDEST)
        fill_table(ui.reviewTable, ["", *reading.study.columns], shown, wide=1, longest=longest, tips=rows)
        self._show_buttons()

    def _show_buttons(self) -> None:
        reading, ui = self._reading, self.ui
        if reading is None:
            return
        ui.previousCaseButton.enabled = reading.current > 0
        ui.nextCaseButton.enabled = 0 <= reading.current < len(reading.cases) - 1
        ui.showMapButton.enabled = reading.case is not None and reading.seen is None
        ui.saveRatingButton.enabled = reading.case is not None and not self._form.missing

    def _say(self, message: str) -> None:
        self.ui.reviewStatusLabel.text = message


def _short_number(text: str) -> str:
    """A measurement rounded; what may be a name stays as it is."""
    return rounded(text) if "." in text and len(text) > _LONG_NUMBER else text


def _read(file: Path) -> None:
    """Runs in a thread."""
    try:
        with file.open("rb") as content:
            while content.read(_CHUNK):
                pass
    except OSError:
        return  # it is said when the case is opened


def _volume_ids() -> frozenset[str]:
    return frozenset(node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLVolumeNode"))
