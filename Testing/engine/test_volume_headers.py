"""Headers of NRRD, MetaImage and NIfTI are read here: whatever they say means what it means to SimpleITK and nibabel."""

from __future__ import annotations

import bz2
import gzip
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from engine.geometry import SHAPE, VOXELS

from SegHiResCAMLib.engine.errors import Cancelled, EngineError
from SegHiResCAMLib.engine.images.findings import findings_of
from SegHiResCAMLib.engine.images.volume import read_volume, stack_volumes

RAW = VOXELS.astype("<f4").tobytes(order="F")
PLACED = "space: left-posterior-superior\nspace directions: (1,0,0) (0,2,0) (0,0,3)\n"


def nrrd(path: Path, fields: str, data: bytes = RAW, **changed: str) -> Path:
    sizes = " ".join(map(str, SHAPE))
    head = {"type": "float", "dimension": "3", "sizes": sizes, "encoding": "raw", "endian": "little"} | changed
    lines = "".join(f"{key}: {value}\n" for key, value in head.items() if value)
    path.write_bytes(f"NRRD0005\n{lines}{fields}\n".encode() + data)
    return path


def metaimage(path: Path, fields: str = "", data: bytes = RAW, tail: str = "LOCAL", **changed: str) -> Path:
    sizes = " ".join(map(str, SHAPE))
    head = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "DimSize": sizes,
        "ElementType": "MET_FLOAT",
    } | changed
    lines = "".join(f"{key} = {value}\n" for key, value in head.items() if value)
    path.write_bytes(f"{lines}{fields}ElementDataFile = {tail}\n".encode() + data)
    return path


def agrees_with_simpleitk(path: Path) -> None:
    """Values and the patient positions of all corners."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        volume = read_volume(path)
    image = sitk.ReadImage(str(path))
    array = np.moveaxis(np.atleast_1d(sitk.GetArrayFromImage(image)).T.reshape(volume.shape), 0, 0)
    np.testing.assert_array_equal(volume.numpy(), array.astype(np.float32))
    for corner in np.ndindex(*[2] * image.GetDimension()):
        index = tuple(one * (size - 1) for one, size in zip(corner, image.GetSize(), strict=True))
        point = (np.asarray(volume.affine) @ [*index, *[0] * (3 - len(index)), 1])[: len(index)]
        lps = np.array([*image.TransformIndexToPhysicalPoint(index)])
        np.testing.assert_allclose(point * [-1, -1, 1][: len(index)], lps, rtol=0, atol=1e-9)


NRRD_GEOMETRY = {
    "oblique": "space: LPS\nspace directions: (0.9,0.1,0) (-0.1,1.1,0.2) (0,-0.3,2.5)\nspace origin: (1,-2,3.5)\n",
    "left-handed": "space: right-anterior-superior\nspace directions: (0,1,0) (1,0,0) (0,0,2)\nspace origin: (1,2,3)\n",
    "sheared": "space: left-anterior-superior\nspace directions: (1,0.5,0) (0,2,0) (0,0,3)\nspace origin: (4,5,6)\n",
    "short name": "space: RAS\nspace directions: (1,0,0) (0,2,0) (0,0,3)\nspace origin: (4,5,6)\n",
    "scanner": "space: scanner-xyz\nspace directions: (1,0,0) (0,2,0) (0,0,3)\nspace origin: (4,5,6)\n",
    "space by its dimension": "space dimension: 3\nspace directions: (1,0,0) (0,2,0) (0,0,3)\n",
    "spaces in vectors": "space: LPS\nspace directions: (1, 0, 0) ( 0,2,0)   (0,0,3)\nspace origin: ( 4, 5 ,6)\n",
    "measurement frame": PLACED + "measurement frame: (0,1,0) (1,0,0) (0,0,1)\nspace units: \"mm\" \"mm\" \"mm\"\n",
    "spacings": "spacings: 1 2 3\n",
    "spacings and first voxels": "spacings: 1 2 3\naxis mins: 10 20 30\n",
    "node centred": "spacings: 1 2 3\naxis mins: 10 20 30\ncenters: node node node\n",
    "cell centred": "spacings: 1 2 3\naxis mins: 10 20 30\ncenters: cell cell cell\n",
    "thickness": "spacings: 1 2 nan\nthicknesses: nan nan 5\n",
    "negative spacing": "spacings: -1 2 3\n",
    "nothing": "",
    "capitals, comments, keys": "# spacings: 9 9 9\nSPACINGS: 1 2 3\nkey:=spacings: 7 7 7\nlabels: \"x\" \"y\" \"z\"\n",
    "kinds": PLACED + "kinds: domain space ???\n",
}  # fmt: skip


@pytest.mark.parametrize("fields", NRRD_GEOMETRY.values(), ids=NRRD_GEOMETRY)
def test_an_nrrd_lies_where_simpleitk_puts_it(tmp_path: Path, fields: str) -> None:
    agrees_with_simpleitk(nrrd(tmp_path / "a.nrrd", fields))


@pytest.mark.parametrize(
    "dtype", ["signed char", "uchar", "short", "unsigned short int", "int32_t", "uint", "longlong", "uint64", "double"]
)
@pytest.mark.parametrize("endian", ["little", "big"])
def test_an_nrrd_of_every_type_and_byte_order_holds_simpleitks_values(tmp_path: Path, dtype: str, endian: str) -> None:
    code = {
        "signed char": "i1", "uchar": "u1", "short": "i2", "unsigned short int": "u2", "int32_t": "i4", "uint": "u4", "longlong": "i8",
        "uint64": "u8", "double": "f8",
    }[dtype]  # fmt: skip
    data = VOXELS.astype({"little": "<", "big": ">"}[endian] + code).tobytes(order="F")
    agrees_with_simpleitk(nrrd(tmp_path / "a.nrrd", "", data, type=dtype, endian=endian))


ENCODED: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "gzip": gzip.compress,
    "gz": lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]),
    "bzip2": bz2.compress,
    "bz2": bz2.compress,
    "ascii": lambda data: " ".join(map(str, np.frombuffer(data, "<f4"))).encode(),
    "text": lambda data: "\n".join(map(str, np.frombuffer(data, "<f4"))).encode() + b"\n",
    "hex": lambda data: data.hex().upper().encode(),
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_every_encoding_of_an_nrrd_gives_its_voxels(tmp_path: Path, encoding: str) -> None:
    path = nrrd(tmp_path / "a.nrrd", PLACED, ENCODED[encoding](RAW), encoding=encoding)
    np.testing.assert_array_equal(read_volume(path).numpy()[0], VOXELS)


@pytest.mark.parametrize(
    ("fields", "before"), [("byte skip: -1\n", b"abc"), ("byte skip: 3\n", b"abc"), ("line skip: 2\n", b"a\nb\n")]
)
def test_what_an_nrrd_skips_is_no_voxel(tmp_path: Path, fields: str, before: bytes) -> None:
    agrees_with_simpleitk(nrrd(tmp_path / "a.nrrd", fields, before + RAW))


def test_line_ends_of_windows_are_line_ends(tmp_path: Path) -> None:
    path = nrrd(tmp_path / "a.nrrd", PLACED, b"")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + RAW)
    agrees_with_simpleitk(path)


@pytest.mark.parametrize("kind", ["vector", "list", "RGB-color"])
def test_components_of_an_nrrd_are_channels_wherever_their_axis_stands(tmp_path: Path, kind: str) -> None:
    channels = np.stack([VOXELS, -VOXELS, 2 * VOXELS]).astype("<f4")
    sizes = f"3 {' '.join(map(str, SHAPE))}"
    directions = "none (1,0,0) (0,2,0) (0,0,3)"
    fields = f"space: LPS\nspace directions: {directions}\nkinds: {kind} domain domain domain\n"
    first = nrrd(tmp_path / "first.nrrd", fields, channels.tobytes(order="F"), dimension="4", sizes=sizes)
    agrees_with_simpleitk(first)
    np.testing.assert_array_equal(read_volume(first).numpy(), channels)
    fields = f"space: LPS\nspace directions: (1,0,0) (0,2,0) (0,0,3) none\nkinds: domain domain domain {kind}\n"
    sizes = f"{' '.join(map(str, SHAPE))} 3"
    last = np.moveaxis(channels, 0, -1).tobytes(order="F")
    path = nrrd(tmp_path / "last.nrrd", fields, last, dimension="4", sizes=sizes)
    np.testing.assert_array_equal(read_volume(path).numpy(), channels)


META_GEOMETRY = {
    "spacing": {"ElementSpacing": "1 2 3"},
    "size where there is no spacing": {"ElementSize": "4 5 6"},
    "spacing before size": {"ElementSize": "4 5 6", "ElementSpacing": "1 2 3"},
    "offset": {"Offset": "7 8 9"},
    "position": {"Position": "7 8 9"},
    "origin": {"Origin": "7 8 9"},
    "oblique": {"TransformMatrix": "0.8 0.6 0 -0.6 0.8 0 0 0 1", "ElementSpacing": "1 2 3", "Offset": "1 2 3"},
    "left-handed": {"Orientation": "0 1 0 1 0 0 0 0 1", "ElementSpacing": "1 2 3"},
    "sheared": {"Rotation": "1 0.3 0 0 1 0 0 0 1", "ElementSpacing": "1 2 3"},
    "what only people read": {"CenterOfRotation": "1 2 3", "AnatomicalOrientation": "LPI", "Comment": "a = b : c", "0010|0010": "x"},
    "negative spacing": {"ElementSpacing": "-1 2 3"},
    "no spaces": {"ElementSpacing": "1 2 3 "},
}  # fmt: skip


@pytest.mark.parametrize("fields", META_GEOMETRY.values(), ids=META_GEOMETRY)
def test_a_metaimage_lies_where_simpleitk_puts_it(tmp_path: Path, fields: dict[str, str]) -> None:
    agrees_with_simpleitk(metaimage(tmp_path / "a.mha", **fields))


@pytest.mark.parametrize(
    ("word", "code"),
    [("CHAR", "i1"), ("UCHAR", "u1"), ("SHORT", "i2"), ("USHORT", "u2"), ("INT", "i4"), ("UINT", "u4"), ("LONG", "i4"), ("ULONG", "u4"),
     ("LONG_LONG", "i8"), ("ULONG_LONG", "u8"), ("FLOAT", "f4"), ("DOUBLE", "f8")],
)  # fmt: skip
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_metaimage_of_every_type_and_byte_order_holds_simpleitks_values(
    tmp_path: Path, word: str, code: str, order: str
) -> None:
    data = VOXELS.astype(order + code).tobytes(order="F")
    path = metaimage(tmp_path / "a.mha", data=data, ElementType=f"MET_{word}", BinaryDataByteOrderMSB=str(order == ">"))
    agrees_with_simpleitk(path)


def test_a_metaimage_of_channels_a_plane_and_four_axes_is_simpleitks(tmp_path: Path) -> None:
    agrees_with_simpleitk(metaimage(tmp_path / "channels.mha", data=RAW + RAW, ElementNumberOfChannels="2"))
    agrees_with_simpleitk(metaimage(tmp_path / "plane.mha", NDims="2", DimSize=f"{SHAPE[0]} {SHAPE[1] * SHAPE[2]}"))
    sizes = " ".join(map(str, (*SHAPE, 1)))
    np.testing.assert_array_equal(
        read_volume(metaimage(tmp_path / "four.mha", NDims="4", DimSize=sizes)).numpy()[0], VOXELS
    )


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress])
def test_a_packed_metaimage_needs_no_size_of_its_stream(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = metaimage(tmp_path / "a.mha", data=pack(RAW), CompressedData="True")
    np.testing.assert_array_equal(read_volume(path).numpy()[0], VOXELS)


# ---- files beside a header


def in_files(folder: Path, count: int) -> list[str]:
    share = len(RAW) // count
    names = [f"slice{number:03d}.raw" for number in range(count)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(RAW[number * share : (number + 1) * share])
    return names


def test_voxels_beside_a_header_are_found_by_name_list_and_pattern(tmp_path: Path) -> None:
    (tmp_path / "all.raw").write_bytes(b"xyz" + RAW)
    names = "\n".join(in_files(tmp_path, SHAPE[2]))
    last = SHAPE[2] - 1
    for path in (
        nrrd(tmp_path / "one.nhdr", "byte skip: 3\ndata file: all.raw\n", b""),
        nrrd(tmp_path / "old.nhdr", "byteskip: -1\ndatafile: all.raw\n", b""),
        nrrd(tmp_path / "list.nhdr", f"data file: LIST\n{names}", b""),
        nrrd(tmp_path / "pattern.nhdr", f"data file: slice%03d.raw 0 {last} 1\n", b""),
        metaimage(tmp_path / "one.mhd", data=b"", tail="all.raw", HeaderSize="3"),
        metaimage(tmp_path / "end.mhd", data=b"", tail="all.raw", HeaderSize="-1"),
        metaimage(tmp_path / "list.mhd", data=b"", tail=f"LIST\n{names}"),
        metaimage(tmp_path / "pattern.mhd", data=b"", tail=f"slice%03d.raw 0 {last} 1"),
    ):
        agrees_with_simpleitk(path)


@pytest.mark.parametrize(("header", "image"), [("a.mhd", "a.zraw"), ("a.nhdr", "a.raw.gz")])
def test_packed_voxels_beside_a_header_are_read(tmp_path: Path, header: str, image: str) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS.T), str(tmp_path / header), useCompression=True)
    assert (tmp_path / image).exists()
    np.testing.assert_array_equal(read_volume(tmp_path / header).numpy()[0], VOXELS)


@pytest.mark.parametrize("name", ["pair.hdr", "PAIR.HDR", "pair.hdr.gz"])
@pytest.mark.parametrize("packed", [False, True])
def test_both_files_of_a_nifti_pair_are_found_packed_or_not(tmp_path: Path, name: str, packed: bool) -> None:
    nib.save(nib.Nifti1Pair(VOXELS * 2, np.diag([2.0, 3, 4, 1])), tmp_path / "made.hdr")
    head, image = (tmp_path / "made.hdr").read_bytes(), (tmp_path / "made.img").read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(head) if name.endswith(".gz") else head)
    stem = name.removesuffix(".gz")[:-4]
    extension = (".IMG" if stem.isupper() else ".img") + (".gz" if packed else "")
    (tmp_path / f"{stem}{extension}").write_bytes(gzip.compress(image) if packed else image)
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.numpy()[0], VOXELS * 2)
    np.testing.assert_allclose(volume.affine, np.diag([2.0, 3, 4, 1]))


# ---- NIfTI


def nifti(path: Path, array: np.ndarray, header: nib.Nifti1Header | None = None, **fields: object) -> Path:
    image = (nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image)(array, None, header)
    image.header.set_sform(np.diag([2.0, 2, 3, 1]), code=1)
    for key, value in fields.items():
        image.header[key] = value
    nib.save(image, path)
    return path


@pytest.mark.parametrize("dtype", [">i2", "<u2", ">f4", "<f8", "i1", ">i4", "<i8"])
@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize("slope", [0.0, 1.0, 2.5, -0.1])
def test_a_nifti_of_any_type_order_and_slope_holds_nibabels_values(
    tmp_path: Path, dtype: str, two: bool, slope: float
) -> None:
    header = (nib.Nifti2Header if two else nib.Nifti1Header)(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(dtype)
    path = nifti(tmp_path / "a.nii.gz", VOXELS.astype(dtype), header)
    head = bytearray(gzip.decompress(path.read_bytes()))
    place, kind = (176, "f8") if two else (112, "f4")
    head[place : place + 2 * int(kind[1])] = np.array([slope, 7.5], ("<" if dtype[0] != ">" else ">") + kind).tobytes()
    path.write_bytes(gzip.compress(bytes(head)))
    peer = nib.load(path)
    np.testing.assert_array_equal(read_volume(path).numpy()[0], np.asarray(peer.dataobj).astype(np.float32))


def test_extensions_of_a_nifti_are_passed_over_whatever_size_they_claim(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 100))
    nib.save(image, path := tmp_path / "a.nii")
    np.testing.assert_array_equal(read_volume(path).numpy()[0], VOXELS)
    content = bytearray(path.read_bytes())
    content[352:356] = np.int32(2**31 - 16).tobytes()
    path.write_bytes(content)
    np.testing.assert_array_equal(read_volume(path).numpy()[0], VOXELS)


@pytest.mark.parametrize("fields", [{}, {"qoffset_x": 7.0, "quatern_b": 1.0}])
def test_a_nifti_that_does_not_say_how_it_lies_is_placed_as_itk_places_it_and_reported(
    tmp_path: Path, fields: dict[str, float]
) -> None:
    image = nib.Nifti1Image(VOXELS, None)
    image.header["pixdim"][1:4] = (1.5, 2, 3)
    for key, value in fields.items():
        image.header[key] = value
    nib.save(image, path := tmp_path / "a.nii.gz")
    assert (image.header["sform_code"], image.header["qform_code"]) == (0, 0)
    with pytest.warns(UserWarning, match=r"orientation of .* is guessed"):
        volume = read_volume(path)
    agrees_with_simpleitk(path)
    assert [finding.code for finding in findings_of(volume)] == ["orientation-guessed"]
    assert str(path) in findings_of(volume)[0].message
    assert findings_of(stack_volumes([volume, volume])) == findings_of(volume)


def test_a_file_that_says_how_it_lies_has_no_findings(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in (
            nifti(tmp_path / "a.nii", VOXELS),
            nrrd(tmp_path / "a.nrrd", PLACED),
            metaimage(tmp_path / "a.mha"),
        ):
            assert findings_of(read_volume(path)) == ()


def test_an_nrrd_without_directions_is_reported_as_guessed(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="is guessed"):
        read_volume(nrrd(tmp_path / "a.nrrd", "spacings: 1 2 3\n"))


# ---- bytes after the voxels, and cancelling


@pytest.mark.parametrize(
    "more",
    [b"", b"trailing bytes that are not gzip", gzip.compress(b"another member")],
    ids=["nothing", "other bytes", "another member"],  # a compressed member holds the time, and names must not differ
)
def test_what_comes_after_the_voxels_is_ignored(tmp_path: Path, more: bytes) -> None:
    path = nifti(tmp_path / "a.nii.gz", VOXELS)
    path.write_bytes(path.read_bytes() + more)
    np.testing.assert_array_equal(read_volume(path).numpy()[0], VOXELS)
    path = nrrd(tmp_path / "a.nrrd", PLACED, gzip.compress(RAW) + more, encoding="gzip")
    np.testing.assert_array_equal(read_volume(path).numpy()[0], VOXELS)


def test_a_packed_stream_whose_sum_is_wrong_is_refused(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(RAW))
    packed[-8] ^= 1
    with pytest.raises(EngineError) as caught:
        read_volume(nrrd(tmp_path / "a.nrrd", PLACED, bytes(packed), encoding="gzip"))
    assert caught.value.code == "file-damaged"


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.png"])
def test_reading_is_cancelled_between_pieces(tmp_path: Path, name: str) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS[:, :, 0].astype(np.uint8)), str(path := tmp_path / name))

    def cancel(_fraction: float, _text: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        read_volume(path, progress=cancel)
