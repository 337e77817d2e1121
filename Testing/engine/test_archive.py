"""Archives unpack to what they hold, and hostile or broken ones are refused before anything leaves their folder."""

from __future__ import annotations

import shutil
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import done_or_refused, refusal

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.untrusted import archive
from SegHiResCAMLib.engine.models.untrusted.archive import files_in, unpacked

BUNDLE = {"configs/inference.json": b"{}", "models/model.pt": b"weights"}


def packed(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", compression) as written:
        for name, content in files.items():
            written.writestr(name, content)
    return str(path)


def content_of(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def refused(source: str, work: Path) -> EngineError:
    """The refusal of an archive; `work` is where nothing may have been left."""

    def unpack() -> None:
        with unpacked(source):
            pass

    before = sorted(work.rglob("*"))
    error = refusal(unpack)
    assert sorted(work.rglob("*")) == before
    assert source in error.message
    return error


def test_a_folder_is_given_as_it_is(tmp_path: Path) -> None:
    with unpacked(str(tmp_path)) as folder:
        assert folder == tmp_path
    assert tmp_path.is_dir()


@pytest.mark.parametrize("top", ["", "spleen/", "spleen/v1/", "./", "Müller 腎臓/"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_unpacks_to_the_models_own_folder_and_is_removed(top: str, compression: int, tmp_path: Path) -> None:
    source = packed(tmp_path / "a.zip", {top + name: content for name, content in BUNDLE.items()}, compression)
    with unpacked(source) as folder:
        assert content_of(folder) == BUNDLE
    assert not folder.exists()
    assert sorted(files_in(source)) == sorted(BUNDLE)


def test_what_file_managers_leave_behind_is_left_out(tmp_path: Path) -> None:
    litter = {"__MACOSX/a/._model.pt": b"x", "a/.DS_Store": b"x", "a/models/._model.pt": b"x", "a/Thumbs.db": b"x"}
    source = packed(tmp_path / "a.zip", {**litter, **{f"a/{name}": content for name, content in BUNDLE.items()}})
    with unpacked(source) as folder:
        assert content_of(folder) == BUNDLE
    assert sorted(files_in(source)) == sorted(BUNDLE)


def test_backslashes_of_windows_programs_are_separators(tmp_path: Path) -> None:
    source = packed(tmp_path / "a.zip", {name.replace("/", "\\"): content for name, content in BUNDLE.items()})
    with unpacked(source) as folder:
        assert content_of(folder) == BUNDLE


def test_a_folder_is_removed_when_its_reader_fails_and_the_message_names_the_archive(tmp_path: Path) -> None:
    source = packed(tmp_path / "a.zip", {f"top/{name}": content for name, content in BUNDLE.items()})
    with pytest.raises(EngineError) as failure, unpacked(source) as folder:
        raise EngineError("code", f"'{folder / 'models/model.pt'}' is bad.")
    assert failure.value.message == f"'{source}/models/model.pt' is bad."
    assert failure.value.code == "code"
    assert not folder.exists()


@pytest.mark.parametrize(
    "name",
    [
        "../escaped", "a/../../escaped", "..", "/escaped", "//host/share/escaped", "C:escaped", "C:/escaped", "C:\\escaped",
        "\\escaped", "..\\escaped", "a\\..\\..\\escaped", "a/file:stream", "a/bell\a", "a\0/../../escaped",
    ],
)  # fmt: skip
def test_paths_that_lead_out_of_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    work = tmp_path / "inner/most"
    work.mkdir(parents=True)
    source = str(work / "a.zip")
    with zipfile.ZipFile(source, "w") as written:
        for inside, content in BUNDLE.items():
            written.writestr(inside, content)
        written.writestr("a/placeholder", b"x")
    forge_name(Path(source), "a/placeholder", name)
    assert refused(source, tmp_path).code == "archive-outside"


def forge_name(path: Path, old: str, new: str) -> None:
    """Rename a file inside an archive to what `zipfile` would not write."""
    with zipfile.ZipFile(path) as whole:
        files = {entry.filename: whole.read(entry) for entry in whole.infolist()}
    stand_in = "x" * len(new.encode())
    packed(path, {stand_in if name == old else name: content for name, content in files.items()})
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), new.encode()))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_links_and_devices_are_refused(kind: int, tmp_path: Path) -> None:
    source = packed(tmp_path / "a.zip", BUNDLE)
    link = zipfile.ZipInfo("models/other.pt")
    link.create_system = 3
    link.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(source, "a") as written:
        written.writestr(link, "/etc/passwd")
    error = refused(source, tmp_path)
    assert error.code == "archive-link"
    assert "models/other.pt" in error.message


def test_bombs_are_refused_by_what_their_directory_claims(tmp_path: Path) -> None:
    bomb = packed(tmp_path / "a.zip", {**BUNDLE, "models/zeros.pt": bytes(100_000_000)})
    error = refused(bomb, tmp_path)
    assert error.code == "archive-large"
    assert "0.1 GB" in error.message


def test_a_bomb_of_many_files_is_refused(tmp_path: Path) -> None:
    files = {f"f{number}": bytes(2_000_000) for number in range(40)}
    assert refused(packed(tmp_path / "a.zip", files), tmp_path).code == "archive-large"


def test_a_bomb_that_lies_about_its_size_is_stopped_there(tmp_path: Path) -> None:
    source = tmp_path / "a.zip"
    packed(source, {"models/model.pt": bytes(100_000_000)})
    source.write_bytes(source.read_bytes().replace(struct.pack("<I", 100_000_000), struct.pack("<I", 1000)))
    assert refused(str(source), tmp_path).code == "archive-damaged"


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_FILES", 20)
    assert refused(packed(tmp_path / "a.zip", {f"{n}": b"" for n in range(21)}), tmp_path).code == "archive-large"
    with unpacked(packed(tmp_path / "b.zip", {f"{n}": b"" for n in range(20)})) as folder:
        assert len(content_of(folder)) == 20


def test_weights_that_hardly_shrink_pass_whatever_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gigabytes, were the free allowance not taken away."""
    monkeypatch.setattr(archive, "FREE_BYTES", 0)
    noise = np.random.default_rng(1).bytes(3_000_000)
    with unpacked(packed(tmp_path / "a.zip", {"models/model.pt": noise})) as folder:
        assert content_of(folder) == {"model.pt": noise}


def test_more_than_the_disk_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=5)
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: usage)
    assert "space" in refused(packed(tmp_path / "a.zip", BUNDLE), tmp_path).message


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    assert refused(packed(tmp_path / "a.zip", {"d/" * 40 + "f": b""}), tmp_path).code == "archive-nested"


@pytest.mark.parametrize("name", ["model.zip", "inner/model.ZIP", "model.tar.gz", "model.7z"])
def test_an_archive_in_an_archive_is_refused_by_name(name: str, tmp_path: Path) -> None:
    error = refused(packed(tmp_path / "a.zip", {name: b"PK\x03\x04"}), tmp_path)
    assert error.code == "archive-nested"
    assert name in error.message


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    source = Path(packed(tmp_path / "a.zip", BUNDLE))
    content = bytearray(source.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags of every header
        start = -1
        while (start := content.find(signature, start + 1)) >= 0:
            content[start + place] |= 1
    source.write_bytes(content)
    error = refused(str(source), tmp_path)
    assert error.code == "archive-encrypted"
    assert "password" in error.message


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_packings_are_refused(compression: int, tmp_path: Path) -> None:
    assert refused(packed(tmp_path / "a.zip", BUNDLE, compression), tmp_path).code == "archive-unknown"


def test_a_file_given_twice_is_refused(tmp_path: Path) -> None:
    source = packed(tmp_path / "a.zip", BUNDLE)
    with zipfile.ZipFile(source, "a") as written, pytest.warns(UserWarning, match="Duplicate"):
        written.writestr("models/model.pt", b"others")
    assert "twice" in refused(source, tmp_path).message


def test_a_file_where_a_folder_is_needed_is_refused(tmp_path: Path) -> None:
    refused(packed(tmp_path / "a.zip", {"models": b"x", "models/model.pt": b"x"}), tmp_path)


@pytest.mark.parametrize("kept", [4, 30, 0.3, 0.6, 0.99])
def test_truncated_archives_are_refused(kept: float, tmp_path: Path) -> None:
    source = Path(packed(tmp_path / "a.zip", {"models/model.pt": np.random.default_rng(1).bytes(3000)}))
    content = source.read_bytes()
    source.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    assert refused(str(source), tmp_path).code == "archive-damaged"


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    source = Path(packed(tmp_path / "a.zip", {"models/model.pt": np.random.default_rng(1).bytes(3000)}))
    content = bytearray(source.read_bytes())
    content[1500] ^= 1
    source.write_bytes(content)
    assert refused(str(source), tmp_path).code == "archive-damaged"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "archive-empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "archive-lfs"),
        (b"7z\xbc\xaf\x27\x1c", "archive-unknown"),
        (b"some text", "archive-unknown"),
        (b"PK\x05\x06" + bytes(18), "archive-empty"),
    ],
)
def test_files_that_are_no_archive_are_refused(content: bytes, code: str, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    assert refused(str(tmp_path / "a.zip"), tmp_path).code == code


def test_an_absent_archive_is_refused_by_name(tmp_path: Path) -> None:
    assert refused(str(tmp_path / "none.zip"), tmp_path).code == "archive-absent"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_an_archive_with_any_byte_bent_unpacks_inside_its_folder_or_is_refused(
    place: float, value: int, tmp_path: Path
) -> None:
    source = Path(packed(tmp_path / "a.zip", BUNDLE))
    content = bytearray(source.read_bytes())
    content[int(place * len(content))] = value
    source.write_bytes(content)
    with done_or_refused():
        files_in(str(source))
    with done_or_refused(), unpacked(str(source)) as folder:
        assert content_of(folder)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.zip"]
