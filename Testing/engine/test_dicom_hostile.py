"""Hostile DICOM: what a file claims takes no memory before it is checked, and nothing but a message comes out of it."""

from __future__ import annotations

import io
import logging
import os
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from engine.test_dicom import SLICES, STORED, ct_slice, enhanced_ct, refusal, write_slices
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.dicom import files
from SegHiResCAMLib.engine.images.dicom.codestreams import sizes
from SegHiResCAMLib.engine.images.volume import read_volume

MOST_BYTES = 96 << 20
"""Of Python and numpy while a hostile file of a few MB is refused."""

ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0)


def sequence(tag: tuple[int, int], length: int = 0xFFFFFFFF) -> bytes:
    return struct.pack("<HH2sHL", *tag, b"SQ", 0, length)


def body(dataset: FileDataset) -> bytes:
    """The data set behind the file's own header, as explicit little endian."""
    into = io.BytesIO()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(into, enforce_file_format=True)
    content = into.getvalue()
    return content[144 + int.from_bytes(content[140:144], "little") :]


def head(syntax: str) -> bytes:
    meta, into = ct_slice().file_meta, io.BytesIO()
    meta.TransferSyntaxUID = syntax
    write_file_meta_info(into, meta)
    return bytes(128) + b"DICM" + into.getvalue()


def deflated(path: Path, *pieces: Iterable[bytes]) -> Path:
    stream = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    path.write_bytes(
        head(DeflatedExplicitVRLittleEndian)
        + b"".join(stream.compress(one) for piece in pieces for one in piece)
        + stream.flush()
    )
    return path


def zeros(mebibytes: int) -> Iterable[bytes]:
    return (bytes(2**20) for _ in range(mebibytes))


def refused_within_bounds(path: Path, *codes: str, most: int = MOST_BYTES) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(EngineError) as caught:
            read_volume(path)
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()
    assert caught.value.code in codes, caught.value.message
    assert str(path) in caught.value.message


def test_a_deflated_file_is_read(tmp_path: Path) -> None:
    volume = read_volume(deflated(tmp_path / "deflated", [body(ct_slice(2))]))
    np.testing.assert_array_equal(volume.numpy()[0, :, :, 0], STORED[2].T - 1024.0)


@pytest.mark.parametrize(
    ("attributes", "codes"),
    [
        ({"PixelData": b""}, ("dicom-not-decodable",)),
        ({"PixelData": b"", "Rows": 30_000, "Columns": 30_000}, ("volume-too-large",)),
    ],
    ids=["more than it claims", "as much as it claims"],
)
def test_a_deflated_bomb_is_refused_before_it_takes_memory(
    tmp_path: Path, attributes: dict[str, object], codes: tuple[str, ...]
) -> None:
    path = deflated(tmp_path / "bomb", [body(ct_slice(**attributes))], zeros(256))
    assert path.stat().st_size < 4 << 20
    refused_within_bounds(path, *codes)


def test_a_deflated_bomb_in_front_of_the_pixels_is_refused(tmp_path: Path) -> None:
    private = struct.pack("<HH2sHL", 0x0009, 0x1001, b"UN", 0, 256 << 20)
    refused_within_bounds(deflated(tmp_path / "bomb", [private], zeros(256), [body(ct_slice())]), "dicom-no-images")


@pytest.mark.parametrize("whole", [True, False], ids=["deflated", "plain"])
def test_a_million_items_are_refused(tmp_path: Path, whole: bool) -> None:
    content = [sequence((0x5200, 0x9230)), *[ITEM * 10_000] * 100]
    path = tmp_path / "items"
    if whole:
        deflated(path, content)
    else:
        path.write_bytes(head(ExplicitVRLittleEndian) + b"".join(content))
    refused_within_bounds(path, "dicom-header-too-large", most=1 << 30)


def test_a_million_items_of_a_sequence_with_a_length_are_refused(tmp_path: Path) -> None:
    content = sequence((0x5200, 0x9230), len(ITEM) * 1_000_000) + ITEM * 1_000_000
    (tmp_path / "items").write_bytes(head(ExplicitVRLittleEndian) + content)
    refused_within_bounds(tmp_path / "items", "dicom-header-too-large", most=1 << 30)


def test_sequences_in_sequences_without_end_are_refused(tmp_path: Path) -> None:
    deep = (sequence((0x0008, 0x1140)) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)) * 100_000
    (tmp_path / "deep").write_bytes(head(ExplicitVRLittleEndian) + deep)
    refused_within_bounds(tmp_path / "deep", "dicom-damaged")


def test_a_length_that_the_file_does_not_have_makes_no_room(tmp_path: Path) -> None:
    content = body(ct_slice())
    length = content.rindex(STORED[0].tobytes()) - 4
    broken = content[:length] + struct.pack("<L", 0xFFFFFFF0) + content[length + 4 :]
    (tmp_path / "long").write_bytes(head(ExplicitVRLittleEndian) + broken)
    tracemalloc.start()
    try:
        read_volume(tmp_path / "long")
    except EngineError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MOST_BYTES


@pytest.mark.parametrize(
    "attributes",
    [{"Rows": 65_535, "Columns": 65_535}, {"Rows": 20_000, "Columns": 20_000}, {"BitsAllocated": 65_528}],
)
def test_more_pixels_than_the_file_holds_are_refused(tmp_path: Path, attributes: dict[str, object]) -> None:
    path = write_slices(tmp_path, [ct_slice(**attributes)]) / "IM0000"
    refused_within_bounds(path, "volume-too-large", "dicom-not-decodable", "out-of-memory")


def compressed(syntax: str, frame: bytes) -> FileDataset:
    dataset = ct_slice(PixelData=encapsulate([frame]))
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def huge_jpeg(marker: int) -> bytes:
    """After a segment of the application, which is passed over."""
    return (
        b"\xff\xd8\xff\xe0\0\x04ab\xff" + bytes([marker]) + struct.pack(">HBHHB", 11, 8, 60_000, 60_000, 1) + bytes(64)
    )


HUGE_J2K = b"\xff\x4f\xff\x51" + struct.pack(">HH8IH", 41, 0, 60_000, 60_000, 0, 0, 60_000, 60_000, 0, 0, 1) + bytes(64)


@pytest.mark.parametrize(
    ("syntax", "frame"),
    [
        (JPEG2000Lossless, HUGE_J2K),
        (JPEG2000Lossless, b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40) + HUGE_J2K),
        (JPEGLSLossless, huge_jpeg(0xF7)),
        (JPEGBaseline8Bit, huge_jpeg(0xC0)),
        (JPEGLosslessSV1, huge_jpeg(0xC3)),
    ],
    ids=["JPEG 2000", "JP2", "JPEG-LS", "JPEG", "lossless JPEG"],
)
def test_a_compressed_frame_that_claims_more_than_the_header_is_refused(
    tmp_path: Path, syntax: str, frame: bytes
) -> None:
    assert (60_000, 60_000, 1) in list(sizes(frame))
    refused_within_bounds(write_slices(tmp_path, [compressed(syntax, frame)]) / "IM0000", "dicom-not-decodable")


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGBaseline8Bit, JPEGLosslessSV1])
def test_a_compressed_frame_that_claims_nothing_is_refused(tmp_path: Path, syntax: str) -> None:
    """Decoders look for the size behind damage, so what is not found is not known."""
    frame = b"\xff\xd8garbage" + huge_jpeg(0xC3)[2:]
    refused_within_bounds(write_slices(tmp_path, [compressed(syntax, frame)]) / "IM0000", "dicom-not-decodable")


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_the_size_of_a_sound_frame_is_found(syntax: str) -> None:
    dataset = ct_slice(Rows=48, Columns=64, PixelData=bytes(2 * 48 * 64))
    dataset.compress(syntax)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    assert list(sizes(frame)) == [(48, 64, 1)]


def test_pipes_and_devices_in_a_folder_are_passed_over(tmp_path: Path) -> None:
    folder = write_slices(tmp_path, [ct_slice(k) for k in range(SLICES)])
    os.mkfifo(folder / "pipe")
    (folder / "zero").symlink_to("/dev/zero")
    assert read_volume(folder).shape[3] == SLICES


def test_a_folder_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_FILES", 5)
    assert "more than 5 files" in refusal(
        write_slices(tmp_path, [ct_slice(k) for k in range(SLICES)]), "folder-too-large"
    )


def test_nothing_of_the_patient_reaches_warnings_or_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    slices = [ct_slice(k) for k in range(SLICES)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for dataset in slices:
            dataset.PatientBirthDate, dataset.PatientAge = "Gerda", "Gerda!"
            dataset.SliceThickness = "2.5000000000000000004711"
        folder = write_slices(tmp_path, slices)
    caplog.clear()  # what making the files said
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        read_volume(folder)
    said = caplog.text + "".join(str(one.message) for one in warned)
    assert not [secret for secret in ("Gerda", "Geheim", "4711", "1937") if secret in said], said


def test_a_longer_file_may_have_a_longer_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As enhanced multi-frame files of thousands of frames have; here scaled down."""
    monkeypatch.setattr(files, "MOST_ITEMS", 2)
    monkeypatch.setattr(files, "HEADER_BYTES", 2**12)
    content = _written(enhanced_ct(np.array([0, 0, 2.5])))
    (tmp_path / "short").write_bytes(content)
    refusal(tmp_path / "short", "dicom-header-too-large")
    (tmp_path / "long").write_bytes(content + bytes(2**20))
    assert read_volume(tmp_path / "long").shape[0] == 1


def _written(dataset: FileDataset) -> bytes:
    into = io.BytesIO()
    dataset.save_as(into, enforce_file_format=True)
    return into.getvalue()
