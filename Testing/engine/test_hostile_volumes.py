"""A volume's file is hostile until it is read: it names nothing but files beside it, takes no memory unbounded, and never ends the process."""

from __future__ import annotations

import base64
import gzip
import os
import struct
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from SegHiResCAMLib.engine.errors import Cancelled, EngineError
from SegHiResCAMLib.engine.images import picture_file, voxels
from SegHiResCAMLib.engine.images.volume import read_volume
from SegHiResCAMLib.writing.owners import kind_of

SECRET = b"not for voxels! " * 4
ZEROS = gzip.compress(bytes(10**6), mtime=0) * 1000
"""10^9 zeros in a thousand members, 1 MB."""

pytestmark = pytest.mark.filterwarnings("ignore:The orientation of")
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


def refusal(path: Path, *codes: str) -> str:
    """The message that refuses `path`; at once."""
    start = time.process_time()
    with pytest.raises(EngineError) as caught:
        read_volume(path)
    assert caught.value.code in codes, caught.value.message
    assert time.process_time() - start < 2
    return caught.value.message


def nrrd(
    path: Path, sizes: str, fields: str = "", data: bytes = b"", kind: str = "uint8", encoding: str = "raw"
) -> Path:
    count = len(sizes.split())
    head = (
        f"NRRD0004\ntype: {kind}\ndimension: {count}\nsizes: {sizes}\nendian: little\nencoding: {encoding}\n{fields}\n"
    )
    path.write_bytes(head.encode("utf-8", "surrogateescape") + data)
    return path


def metaimage(path: Path, data_file: str, sizes: str = "4 4 4", fields: str = "") -> Path:
    path.write_text(
        f"ObjectType = Image\nNDims = 3\nDimSize = {sizes}\nElementType = MET_UCHAR\n{fields}ElementDataFile = {data_file}\n"
    )
    return path


def nifti_head(shape: tuple[int, ...], dtype: type = np.uint8, **fields: object) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header["magic"], header["vox_offset"], header["sform_code"] = b"n+1", 352, 1
    header["srow_x"][0] = header["srow_y"][1] = header["srow_z"][2] = 1
    for key, value in fields.items():
        header[key] = value
    return header.binaryblock + bytes(4)


# ---- what a header may name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`inside`, which headers lie in, between files that are none of their business."""
    inside = tmp_path / "inside"
    (inside / "folder").mkdir(parents=True)
    for path in (tmp_path / "secret", inside / "folder" / "secret"):
        path.write_bytes(SECRET)
    if sys.platform != "win32":
        os.mkfifo(inside / "pipe")
        (inside / "link").symlink_to(tmp_path / "secret")
        (inside / "device").symlink_to("/dev/zero")
    return inside


ELSEWHERE = [
    "../secret",
    "folder/secret",
    "/dev/zero",
    "..\\secret",
    "C:secret",
    "LIST\n../secret",
    "%d/../../secret 1 1 1",
    "folder",
    "..",
    ".",
]
LINKS = ["pipe", "link", "device", "LIST\nlink", "lin%dk 1 1 1"]
FORMS: dict[str, Callable[[Path, str], Path]] = {
    "data file": lambda folder, named: nrrd(folder / "a.nrrd", "4 4 4", f"data file: {named}\n"),
    "DATAFILE": lambda folder, named: nrrd(folder / "a.nrrd", "4 4 4", f"DATAFILE: {named}\n"),
    "packed": lambda folder, named: nrrd(folder / "a.nrrd", "4 4 4", f"Data File: {named}\n", encoding="gzip"),
    "text": lambda folder, named: nrrd(folder / "a.nrrd", "4 4 4", f"data file: {named}\n", encoding="ascii"),
    "skipped lines": lambda folder, named: nrrd(folder / "a.nrrd", "4 4 4", f"line skip: 9999\ndata file: {named}\n"),
    "MetaImage": lambda folder, named: metaimage(folder / "a.mhd", named),
    "MetaImage without spaces": lambda folder, named: metaimage(folder / "a.mhd", named, fields="Comment=x\n"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("named", [*ELSEWHERE, *(pytest.param(one, marks=posix) for one in LINKS)])
def test_a_header_names_nothing_but_regular_files_beside_it(folder: Path, form: str, named: str) -> None:
    path = FORMS[form](folder, named)
    refusal(path, "reference-refused", "file-not-regular", "file-damaged")
    beside = folder / "secret"  # the same header opens what lies beside it
    beside.write_bytes(SECRET)
    if form not in ("packed", "text", "skipped lines"):
        assert read_volume(FORMS[form](folder, "secret")).numpy().sum() == sum(SECRET)


@pytest.mark.parametrize("name", ["upward.mhd", "upward.nrrd"])
@pytest.mark.parametrize("beside", [False, True])
def test_a_header_that_names_a_file_of_the_folder_above_is_refused(tmp_path: Path, name: str, beside: bool) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "README.md").write_bytes(bytes(800))
    (tmp_path / "inside" / "README.md").write_bytes(bytes(800))
    reference = "README.md" if beside else "../README.md"
    if name.endswith(".mhd"):
        path = metaimage(tmp_path / "inside" / name, reference, "10 10 8")
    else:
        path = nrrd(
            tmp_path / "inside" / name,
            "10 10 8",
            f"space: LPS\nspace directions: (1,0,0) (0,1,0) (0,0,1)\ndata file: {reference}\n",
        )
    if beside:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert read_volume(path).shape == (1, 10, 10, 8)
    else:
        assert reference in refusal(path, "reference-refused")


@posix
@pytest.mark.parametrize("packed", [False, True])
def test_a_nifti_pair_is_not_followed_out_of_its_folder(folder: Path, packed: bool) -> None:
    head = nifti_head((4, 4, 4), magic=b"ni1", vox_offset=0)
    (folder / "ct.hdr").write_bytes(head)
    (folder / ("ct.img.gz" if packed else "ct.img")).symlink_to("../secret")
    refusal(folder / "ct.hdr", "reference-refused")


@posix
@pytest.mark.parametrize("name", ["pipe", "device"])
def test_a_pipe_or_device_as_volume_is_refused_at_once(folder: Path, name: str) -> None:
    assert name in refusal(folder / name, "file-not-regular")


def test_two_readings_of_one_header_are_refused(tmp_path: Path) -> None:
    for name in ("one.raw", "two.raw"):
        (tmp_path / name).write_bytes(bytes(64))
    twice = nrrd(tmp_path / "a.nrrd", "4 4 4", "data file: one.raw\ndatafile: two.raw\n")
    assert "twice" in refusal(twice, "file-damaged")
    assert "twice" in refusal(metaimage(tmp_path / "a.mhd", "one.raw", fields="DimSize = 4 4 4\n"), "file-damaged")


# ---- memory


@pytest.mark.parametrize(("kind", "sizes"), [("uint8", "1000 1000 1000"), ("int16", "1000 1000 500")])
def test_a_megabyte_that_unpacks_to_a_gigabyte_of_zeros_is_refused_before_memory_is_taken(
    tmp_path: Path, kind: str, sizes: str
) -> None:
    path = nrrd(tmp_path / "zeros.nrrd", sizes, data=ZEROS, kind=kind, encoding="gzip")
    assert "GiB" in refusal(path, "volume-too-large")
    shape = tuple(map(int, sizes.split()))
    head = gzip.compress(nifti_head(shape, np.dtype(kind).type))
    (tmp_path / "zeros.nii.gz").write_bytes(head + ZEROS)
    assert "GiB" in refusal(tmp_path / "zeros.nii.gz", "volume-too-large")
    path = metaimage(tmp_path / "zeros.mha", "LOCAL", sizes, "CompressedData = True\n")
    path.write_bytes(path.read_bytes() + ZEROS)
    if kind == "uint8":
        assert "GiB" in refusal(path, "volume-too-large")


@pytest.mark.parametrize("encoding", ["gzip", "bzip2", "raw", "ascii", "hex"])
def test_few_bytes_that_claim_a_large_volume_are_refused_with_what_is_missing(tmp_path: Path, encoding: str) -> None:
    path = nrrd(tmp_path / "a.nrrd", "700 700 700", data=gzip.compress(bytes(900)), encoding=encoding)
    refusal(path, "file-damaged")


@pytest.mark.parametrize(("claimed", "held"), [("7 6 5", 209), ("100 100 100", 0)])
def test_a_raw_file_that_breaks_off_is_refused_with_both_numbers_of_bytes(
    tmp_path: Path, claimed: str, held: int
) -> None:
    expected = np.prod([*map(int, claimed.split())])
    message = refusal(nrrd(tmp_path / "a.nrrd", claimed, data=bytes(held)), "file-damaged")
    assert f"{held} of {expected} bytes" in message
    path = metaimage(tmp_path / "a.mha", "LOCAL", claimed)
    path.write_bytes(path.read_bytes() + bytes(held))
    assert f"{held} of {expected} bytes" in refusal(path, "file-damaged")
    (tmp_path / "a.nii").write_bytes(nifti_head(tuple(map(int, claimed.split()))) + bytes(held))
    assert f"{held} of {expected} bytes" in refusal(tmp_path / "a.nii", "file-damaged")


def test_what_does_not_fit_into_the_free_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = nrrd(tmp_path / "a.nrrd", "100 100 100", data=bytes(10**6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_volume(path)
    needed = 4 * 10**6 + 3 * voxels.AT_ONCE
    monkeypatch.setattr("SegHiResCAMLib.engine.free_memory.free_memory", lambda: needed - 1)
    refusal(path, "out-of-memory")


# ---- headers that crash native readers, or mislead


@pytest.mark.parametrize("axes", ["-13", "318446744073709551615", "0", "3 3", "1e1", "99"])
def test_a_metaimage_of_no_possible_number_of_axes_is_refused(tmp_path: Path, axes: str) -> None:
    path = metaimage(tmp_path / "a.mha", "LOCAL")
    path.write_bytes(path.read_bytes().replace(b"NDims = 3", f"NDims = {axes}".encode()) + bytes(64))
    refusal(path, "file-damaged")


@pytest.mark.parametrize(
    "sizes", ["-4 4 4", "0 4 4", "4 4", "4 4 4 4", "4 4 nan", "4 4 1_0", "9" * 5000 + " 4 4", "4 4 4.5", ""]
)
def test_sizes_that_no_volume_has_are_refused(tmp_path: Path, sizes: str) -> None:
    path = metaimage(tmp_path / "a.mha", "LOCAL", sizes)
    path.write_bytes(path.read_bytes() + bytes(999))
    refusal(path, "file-damaged", "volume-too-large")
    (path := tmp_path / "a.nrrd").write_bytes(
        f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: {sizes}\nencoding: raw\n\n".encode() + bytes(999)
    )
    refusal(path, "file-damaged", "volume-too-large")


@pytest.mark.parametrize(
    "fields",
    ["byte skip: -5\n", "byte skip: 99999999999999\n", "line skip: -1\n", "encoding: raw\n", "spacings: 1 2\n", "kinds: domain\n",
     "space directions: (1,0) (0,1) (0,0)\n", "space directions: (1,0,0) (0,1,0)\n", "space directions: (1,0,0) none none\n", "no field\n",
     "space: LPS\nspace directions: (1,0,0) (0,1,0) (0,0,inf)\n", "space: LPS\nspace directions: (1,0,0) (0,1,0) (0,0,1e999)\n",
     "data file: LIST\n", "data file: %d 1 999999999 1\n", "data file: %999999999d 1 2 1\n", "data file: %s%n 1 2 1\n", "x" * 5_000_000],
)  # fmt: skip
def test_a_header_of_an_nrrd_that_contradicts_itself_is_refused(tmp_path: Path, fields: str) -> None:
    path = nrrd(tmp_path / "a.nrrd", "4 4 4", fields, data=bytes(64))
    refusal(path, "file-damaged", "volume-affine-singular", "reference-refused")


@pytest.mark.parametrize(
    "fields",
    [{"vox_offset": 0}, {"vox_offset": 1e30}, {"vox_offset": -1}, {"vox_offset": np.nan}, {"dim": [3, -4, 4, 4, 1, 1, 1, 1]},
     {"dim": [0] * 8}, {"dim": [7] + [30_000] * 7}, {"dim": [99, 4, 4, 4, 1, 1, 1, 1]}, {"datatype": 9999}, {"scl_slope": 1, "scl_inter": np.inf},
     {"srow_x": np.nan}, {"dim": [3, 0, 4, 4, 1, 1, 1, 1]}, {"sform_code": 0, "pixdim": 0}],
)  # fmt: skip
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_of_a_nifti_that_contradicts_itself_is_refused(
    tmp_path: Path, fields: dict[str, object], pack: Callable[[bytes], bytes]
) -> None:
    (path := tmp_path / "a.nii").write_bytes(pack(nifti_head((4, 4, 4), **fields) + bytes(64)))
    codes = ("file-damaged", "volume-empty", "volume-too-large", "volume-affine-singular", "volume-has-time-points")
    refusal(path, *codes)


# ---- pictures


def png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bmp(width: int, height: int, bits: int = 8, packing: int = 0, pixels: bytes = b"") -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packing, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + head + pixels


BROKEN_TIFF = (
    "c-r&y)MAifU|@)AJb2^WE51bv*KRa^-^1^+{rMSRA%=epEDVf5StcN6U}OffSwKuEn-wGnWpe;AGn5U&Y)EWDMi#glAtZ58B(@k-4af#@C|d-Gr5IVk>|a1E4P`R{2^l24"
    "8c;UKoti*4*u4yF42FzM4E#VA7f>=7NxdGB_zwiZ8X{aU+B2^>Gd-guBtJhVJF|pgg-s2o%zH<nt!h@xRsnal%PS4fGf+Q7BpJyM5gsN)h=?!|4iQGA5RqX*4G{+>f+6B7"
    "ZNIc4V&#jvjc@7;s=Q~p%xwHlYKRzGn3$NEo0u4w8=D(gnwlD#8JePnh&B`XAtJ|&2oW`A!Xd(h6e4=es38)>OfW>^JofM0S9g2CGX|}$H~T{S*q+C~qd^+6WhOsF3|J5$"
    "V!=W<M3|96#DN7hL{eA?hKRSBo6oUZ=hye|U6o$G>HU|d$@{L;AVmCG$PW=GRz!$+u@Vju7NigfVnq#+GFE~iQhQ5o%Cnv#{u%5Qm(Cqx+jMg0QZ=LyVW3ioB(jnpA|Y&u"
    "5Q$+U93repA(Fy|8X_P-AVdIbM7e_"
)
"""Fields whose counts and offsets were changed: ITK's reader writes beyond its buffer. base85 of zlib."""

CRASHING = {
    "slow.bmp": bmp(16_711_684, 5, pixels=bytes(1049)),
    "claims 26000 x 26000.bmp": bmp(26_000, 26_000),
    "packed.bmp": bmp(4, 5, packing=1, pixels=bytes(999)),
    "upside down.bmp": bmp(2**31 - 1, -(2**31)),
    "claims 60000 x 60000.png": png(60_000, 60_000, zlib.compress(b"")),
    "claims 26000 x 26000.png": png(26_000, 26_000, zlib.compress(b"")),
}


@pytest.mark.parametrize("name", CRASHING)
def test_a_picture_that_claims_more_than_its_file_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CRASHING[name])
    refusal(tmp_path / name, "file-damaged", "volume-too-large")


@pytest.mark.parametrize("end", ["os.abort()", "os._exit(0)", "raise MemoryError", "print('x')", "time.sleep(60)"])
def test_a_decoder_that_crashes_or_says_nothing_is_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """The real way, with a Python that ends as decoders have ended."""
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 4), np.uint8)), str(path := tmp_path / "a.png"))
    (tmp_path / "library" / "SegHiResCAMLib").mkdir(parents=True)
    (tmp_path / "library" / "SegHiResCAMLib" / "__init__.py").touch()
    (tmp_path / "library" / "SegHiResCAMLib" / "picture_decoder.py").write_text(f"import os, time\n{end}\n")
    monkeypatch.setattr("SegHiResCAMLib.child_process.LIBRARY", tmp_path / "library")
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(picture_file, "PATIENCE", 1.5)
    refusal(path, "file-damaged", "picture-not-decoded")


def test_a_slow_decoder_is_cancelled_within_two_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 4), np.uint8)), str(path := tmp_path / "a.png"))
    (tmp_path / "library" / "SegHiResCAMLib").mkdir(parents=True)
    (tmp_path / "library" / "SegHiResCAMLib" / "__init__.py").touch()
    (tmp_path / "library" / "SegHiResCAMLib" / "picture_decoder.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr("SegHiResCAMLib.child_process.LIBRARY", tmp_path / "library")
    start = time.monotonic()

    def cancel(_fraction: float, _text: str) -> None:
        if time.monotonic() > start + 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        read_volume(path, progress=cancel)
    assert time.monotonic() < start + 2.3


def test_a_tiff_that_corrupts_the_memory_of_its_reader_is_a_message(tmp_path: Path) -> None:
    (path := tmp_path / "a.tif").write_bytes(zlib.decompress(base64.b85decode(BROKEN_TIFF)))
    with pytest.raises(EngineError) as caught:
        read_volume(path)
    assert caught.value.code in ("file-damaged", "volume-too-large")


@pytest.mark.parametrize("encoding", ["raw", "gzip", "ascii"])
def test_lines_that_a_header_skips_are_counted_no_further_than_the_file_goes(tmp_path: Path, encoding: str) -> None:
    path = nrrd(tmp_path / "a.nrrd", "4 4 4", "line skip: 999999999999\n", bytes(64), encoding=encoding)
    assert "skips" in refusal(path, "file-damaged")


def test_skipping_lines_is_cancelled(tmp_path: Path) -> None:
    path = nrrd(tmp_path / "a.nrrd", "4 4 4", "line skip: 1\n", b"a line\n" + bytes(64))
    assert not read_volume(path).numpy().any()

    def cancel(_fraction: float, _text: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        read_volume(path, progress=cancel)


def test_what_decoders_write_is_swept_when_the_process_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sweeping goes by names that say whose a folder is."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    picture = tmp_path / "picture.png"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5), np.uint8)), str(picture))
    seen: set[str] = set()
    read_volume(picture, progress=lambda _fraction, _text: seen.update(one.name for one in tmp_path.iterdir()))
    assert {kind_of(name) for name in seen - {picture.name}} == {"picture"}
