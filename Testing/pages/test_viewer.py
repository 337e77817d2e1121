"""The page of an explanation in a real browser: it loads from a disk, needs nothing else, and shows what is there where it is."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from a_record import a_record
from pages.browser import browser, open_page

from SegHiResCAMLib.pages.display_volumes import encode_map
from SegHiResCAMLib.pages.viewer import ViewerPage, viewer_page
from SegHiResCAMLib.records.explanation import Finding, Measurements
from SegHiResCAMLib.records.map_check import FillTrial, MapCheck, RemovalTest, WeightsTest
from SegHiResCAMLib.records.mistakes import Agreement, Comparison, Mistake
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.records.region_shares import RegionShare

pytestmark = pytest.mark.usefixtures("viewer")

SHAPE = (40, 44, 36)
PEAK = 412.625
AFFINES = {
    "RAS": np.diag([2.0, 2, 3, 1]),
    "LPS": np.diag([-2.0, -2, 3, 1]),
    "permuted": np.array([[0, 0, -3.0, 0], [2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]]),
    "oblique": np.array([[1.93, -0.52, 0, 0], [0.52, 1.93, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]]),
}


def placed(name: str) -> npt.NDArray[np.float64]:
    """The affine, moved so that the middle voxel is the patient's origin."""
    affine = AFFINES[name].copy()
    affine[:3, 3] = -(affine[:3, :3] @ (np.array(SHAPE) // 2))
    return affine


def positions(affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """RAS millimetres of each voxel (i, j, k, 3)."""
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def shown(affine: npt.NDArray[np.float64], **changes: Any) -> ViewerPage:
    """A body with a bright organ on the patient's right, and a heat map whose peak is in it, right, in front and above."""
    places = positions(affine)
    body = np.linalg.norm(places / (39, 43, 53), axis=-1) < 1
    organ = np.linalg.norm(places - (18, 8, 12), axis=-1) < 9
    volume = np.where(body, 40.0, -1000.0) + 100 * organ
    signed = PEAK * np.exp(-(np.linalg.norm(places - (18, 8, 12), axis=-1) ** 2) / 60) - 80 * np.exp(
        -(np.linalg.norm(places + np.array((18, 8, 12)), axis=-1) ** 2) / 60
    )
    signed = (signed * (PEAK / signed.max())).astype(np.float32)
    place = places[np.unravel_index(int(signed.argmax()), SHAPE)]
    record = a_record(
        "Seg-HiRes-Grad CAM",
        changes.pop("segment", "organ"),
        "A network",
        units="logit units",
        maximum=float(signed.max()),
        minimum=float(signed.min()),
        peak_ras_mm=tuple(map(float, place)),
        findings=(Finding("grid-coarse", "The layer's grid is coarse."),),
        measurements=Measurements(0.48, 0.6, 0.8, PEAK, tuple(map(float, place)), 4.0, 3.0),
        comparison=Comparison(
            (Agreement("organ", 0.875, 1.0, 2.0, 3.0, 3.5),),
            (Mistake("organ", "false-negative", 0.5, (18.0, 8.0, 12.0), False, "background"),),
        ),
        regions=(RegionShare("liver & <b>", "region", 12, 0.1, 0.37, 0.2, 3.7),),
        check=CHECK,
    )
    labels = organ.astype(np.int16)
    return ViewerPage(record, volume, affine, signed, organ, labels, [Label("organ", 1, 1, (0.2, 0.9, 0.3))])


CHECK = MapCheck(
    removal=RemovalTest(
        fills=(FillTrial("shell", 0.04),),
        voxels=(50, 100),
        deletion=(0.6, 0.31),
        insertion=(0.5, 0.72),
        at=1,
        mask=0.8,
        edges=0.1,
        shifts=(0.4, 0.9, 0.95),
        planned=3,
        p=0.25,
    ),
    weights=WeightsTest(("out",), (0.12,)),
    noise=None,
    not_measured="there was no time <b>",
)


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page for each way in which a volume's axes may lie."""
    folder = tmp_path_factory.mktemp("pages")
    files = {name: folder / f"{name} page.html" for name in AFFINES}
    for name, path in files.items():
        path.write_text(viewer_page(shown(placed(name))), encoding="utf-8")
    return files


AT = """
const {nv, facts} = window.seghirescam;
nv.setCrosshairWidth(0);
nv.setOpacity(1, 0);
nv.setOpacity(2, arguments[0]);
document.querySelector(`[data-view=${arguments[1]}]`).click();
nv.scene.crosshairPos = nv.mm2frac(arguments[2] || facts.peak, 0, true);
nv.drawScene();
const [x, y] = nv.frac2canvasPos(nv.scene.crosshairPos);
const pixel = new Uint8Array(4);
nv.gl.readPixels(Math.round(x), nv.gl.canvas.height - Math.round(y), 1, 1, nv.gl.RGBA, nv.gl.UNSIGNED_BYTE, pixel);
return {x: x / nv.gl.canvas.width, y: y / nv.gl.canvas.height, pixel: Array.from(pixel), top: Array.from(nv.colormap("inferno").slice(-4))};
"""


@pytest.mark.parametrize("name", AFFINES)
def test_the_peak_has_the_maps_highest_colour_and_the_patients_right_is_on_the_left(
    driver: Any, pages: dict[str, Path], name: str
) -> None:
    open_page(driver, pages[name])
    for view in ("axial", "coronal"):
        at = driver.execute_script(AT, 1.0, view)
        assert at["pixel"][:3] == pytest.approx(at["top"][:3], abs=6), view
        assert at["x"] < 0.5, f"{view}: the patient's right is on the right"
        assert at["y"] < 0.5, f"{view}: in front, or above, is below"
    bright, dark = (driver.execute_script(AT, 0.0, "axial", [sign * 18, sign * 8, sign * 12]) for sign in (1, -1))
    assert bright["pixel"][0] > dark["pixel"][0] + 10


def test_the_page_needs_nothing_else_and_may_reach_for_nothing(driver: Any, pages: dict[str, Path]) -> None:
    open_page(driver, pages["RAS"])
    loaded = driver.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert [one for one in loaded if not one.startswith(("data:", "blob:"))] == []
    policy = driver.execute_script("return document.querySelector('meta[http-equiv=Content-Security-Policy]').content")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    refused = driver.execute_async_script(
        "const done = arguments[0]; fetch('https://example.org/').then(() => done('sent'), () => done('refused'))"
    )
    assert refused == "refused"
    driver.get_log("browser")


def text_of(driver: Any, name: str) -> str:
    return str(driver.execute_script("return document.getElementById(arguments[0]).textContent", name))


def test_legend_and_readout_say_the_peak_in_logit_units(driver: Any, pages: dict[str, Path]) -> None:
    open_page(driver, pages["oblique"])
    assert [
        driver.execute_script(f"return document.getElementById('ticks').children[{n}].textContent") for n in range(3)
    ] == [
        "0",
        "206.3",
        "412.6",
    ]
    status = text_of(driver, "status")
    assert "map 412.6 logit units" in status
    assert "organ" in status
    found = re.match(r"R (\d+), A (\d+), S (\d+) mm", status)
    assert found
    assert np.allclose([int(one) for one in found.groups()], (18, 8, 12), atol=3)
    facts = driver.find_element("tag name", "aside").text
    assert "412.625 logit units" in facts
    assert "Dice, organ 0.875" in facts
    assert "False-negative, organ 0.5 ml at R 18, A 8, S 12 mm" in facts
    assert "without it, Dice 0.31 (3 shifted copies: 0.40 to 0.95, p = 0.25)" in facts
    assert "not measured: there was no time <b>" in facts


def test_keys_move_the_crosshair_and_p_returns_to_the_peak(driver: Any, pages: dict[str, Path]) -> None:
    open_page(driver, pages["RAS"])
    body = driver.find_element("tag name", "body")
    at_peak = text_of(driver, "status")
    body.send_keys("\ue00e" * 3)  # page up
    above = text_of(driver, "status")
    assert above != at_peak
    assert "map 412.6" not in above
    body.send_keys("p")
    assert text_of(driver, "status") == at_peak


def test_negative_evidence_is_shown_on_request(driver: Any, pages: dict[str, Path]) -> None:
    open_page(driver, pages["RAS"])
    place = [-18, -8, -12]
    before = driver.execute_script(AT, 1.0, "axial", place)["pixel"]
    assert max(before[:3]) - min(before[:3]) < 10, "grey: nothing lies over the image"
    driver.find_element("id", "signed").click()
    red, _, blue, _ = driver.execute_script(AT, 1.0, "axial", place)["pixel"]
    assert blue > red + 20
    assert driver.execute_script("return document.getElementById('ticks').children[0].textContent") == "-412.6"


def test_names_out_of_files_are_text_in_the_page(driver: Any, tmp_path: Path) -> None:
    evil = "<img src=x onerror=\"document.title='ran'\"></script><script>document.title='ran'</script>"
    path = tmp_path / "evil.html"
    path.write_text(viewer_page(shown(placed("RAS"), segment=evil)), encoding="utf-8")
    open_page(driver, path)
    assert driver.title != "ran"
    assert evil in driver.find_element("tag name", "h1").text
    assert "liver & <b>" in driver.find_element("tag name", "aside").text


def test_it_was_looked_at(driver: Any, pages: dict[str, Path], tmp_path: Path) -> None:
    """Every view and control leaves a page that can be drawn."""
    open_page(driver, pages["LPS"])
    for view in ("render", "sagittal", "all"):
        driver.find_element("css selector", f"[data-view={view}]").click()
        assert driver.save_screenshot(str(tmp_path / f"{view}.png"))
    assert driver.get_log("browser") == []


def decoded(data: str) -> Any:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(data)))


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("most", [10**9, 4000])
def test_the_map_in_a_page_is_right_to_half_a_step_and_its_peak_exact(
    name: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from SegHiResCAMLib.pages import display_volumes

    monkeypatch.setattr(display_volumes, "MOST_MAP", most)
    one = shown(placed(name))
    peak = tuple(int(index) for index in np.unravel_index(int(one.signed.argmax()), SHAPE))
    found = encode_map(one.signed, one.affine, (slice(3, 38), slice(0, 44), slice(2, 36)), peak)
    image = decoded(found.data)
    values = image.get_fdata()
    assert values.size <= most
    index = np.stack(np.meshgrid(*map(np.arange, values.shape), indexing="ij"), axis=-1)
    there = index @ image.affine[:3, :3].T + image.affine[:3, 3]
    back = (there - one.affine[:3, 3]) @ np.linalg.inv(one.affine[:3, :3]).T
    assert np.abs(back - back.round()).max() < 1e-4
    i, j, k = np.moveaxis(back.round().astype(int), -1, 0)
    assert np.abs(values - one.signed[i, j, k]).max() <= found.step / 2 * (1 + 1e-5)
    assert values.max() == pytest.approx(PEAK, rel=2**-22)  # the header's slope has 24 bits
    assert np.allclose(
        there[np.unravel_index(int(values.argmax()), values.shape)], one.affine[:3] @ [*peak, 1], atol=1e-3
    )


@pytest.mark.real_data
@pytest.mark.engine
def test_a_whole_ct_is_below_25_megabytes(kidney_case: Path) -> None:
    from SegHiResCAMLib.engine.images.volume import read_volume

    volume = read_volume(kidney_case / "PATIENT_DICOM")
    values, affine = volume.numpy()[0], volume.affine.numpy()
    assert values.shape == (512, 512, 129)
    coarse = np.random.default_rng(1).normal(size=tuple(length // 16 + 2 for length in values.shape)).astype(np.float32)
    signed = coarse
    for axis, length in enumerate(values.shape):  # linear, as a layer's grid becomes a map
        place = np.arange(length) / 16
        low = place.astype(int)
        share = (place - low).reshape([-1 if one == axis else 1 for one in range(3)]).astype(np.float32)
        signed = np.take(signed, low, axis) * (1 - share) + np.take(signed, low + 1, axis) * share
    explained = np.zeros(values.shape, bool)
    explained[300:360, 250:300, 40:70] = True
    one = ViewerPage(
        a_record("m", "kidney", units="logit units", maximum=1.0),
        values,
        affine,
        signed,
        explained,
        explained.astype(np.uint8),
        [],
    )
    assert len(viewer_page(one)) < 25e6
