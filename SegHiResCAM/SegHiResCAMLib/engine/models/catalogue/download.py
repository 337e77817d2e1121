"""Fetches a file whose SHA-256 is known beforehand: goes on where an earlier attempt broke off, and gives it its name only when it is right."""

from __future__ import annotations

import http.client
import queue
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.untrusted.checkpoint import MAX_BYTES, sha256
from SegHiResCAMLib.engine.progress import Progress, silent
from SegHiResCAMLib.engine.regular_files import open_regular
from SegHiResCAMLib.writing.errors import readable

ATTEMPTS = 3
"""Connections that may break off before the user is asked to try again."""

TIMEOUT = 30
"""Seconds without a byte after which a connection counts as broken."""

PATIENCE = 0.5
"""Seconds after which a download that waits asks whether it is still wanted."""

BLOCK = 1 << 18


class _BrokenOffError(Exception):
    """The connection ended before the file did; what arrived is kept."""


def download(url: str, target: Path, expected: str, progress: Progress = silent, *, size: int | None = None) -> None:
    """Fetch `url` into the file `target`.

    What has arrived lies in `target` + ".part" until it is whole and its checksum is right.

    Args:
        url: https://, http:// or file://.
        target: In a folder that exists.
        expected: SHA-256, lower-case hex.
        progress: Called after each block and twice a second; may raise `Cancelled`, and what has arrived is kept.
        size: In bytes, where it is known beforehand.

    Raises:
        EngineError: `download-failed`, `download-interrupted`, `download-checksum`, `download-size`, `download-unwritable`.
    """
    part = target.with_name(f"{target.name}.part")
    went_on = part.exists()
    try:
        _fetch(url, part, progress, size)
        if sha256(part) != expected and went_on:  # the file may have changed since the first part came
            part.unlink()
            _fetch(url, part, progress, size)
        if sha256(part) != expected:
            part.unlink()
            raise EngineError(
                "download-checksum",
                f"What {_host(url)} sent as '{target.name}' is not the file that the catalogue describes (its SHA-256 differs), so it was "
                "deleted. Try again later, or ask whoever keeps the catalogue.",
            )
        part.replace(target)
    except OSError as error:
        raise EngineError(
            "download-unwritable",
            f"'{target}' cannot be written: {error.strerror or error}. Free some space, or choose another cache folder.",
        ) from error


def _fetch(url: str, part: Path, progress: Progress, size: int | None) -> None:
    """Bring `part` to its full length."""
    if url.startswith("file://"):
        _copy(url, part, progress, size)
        return
    for _ in range(ATTEMPTS):
        before = _length(part)
        try:
            _request(url, part, progress, size)
        except _BrokenOffError:
            continue
        except urllib.error.HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and before:
                if error.headers.get("Content-Range") == f"bytes */{before}":
                    return  # all of it had arrived
                part.unlink()
                continue
            raise EngineError(
                "download-failed",
                f"{_host(url)} answered '{error.code} {_one_line(error.reason)}' for '{url}'. Check the address in the catalogue.",
            ) from error
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
            if _length(part) > before:
                continue
            reason = _one_line(getattr(error, "reason", None) or error)
            raise EngineError(
                "download-failed",
                f"{_host(url)} cannot be reached: {reason}. Check the network, or copy the file by hand.",
            ) from error
        else:
            return
    raise EngineError(
        "download-interrupted",
        f"The connection to {_host(url)} broke off {ATTEMPTS} times; {_length(part)} bytes have arrived and are kept. "
        "Start the download again to continue from there.",
    )


def _request(url: str, part: Path, progress: Progress, size: int | None) -> None:
    have = _length(part)
    request = urllib.request.Request(url, headers={"User-Agent": "SegHiResCAM", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with closing(_arriving(request)) as arriving:
        answer: http.client.HTTPResponse | None = None
        while answer is None:
            answer = next(arriving)
            progress(0.0, f"Connecting to {_host(url)}")
        goes_on = answer.status == http.client.PARTIAL_CONTENT and _starts_at(answer, have)
        if answer.status == http.client.PARTIAL_CONTENT and not goes_on:
            part.unlink(missing_ok=True)
            raise _BrokenOffError
        have = have if goes_on else 0
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else size
        limit = size or MAX_BYTES
        if total is not None and total > limit:
            raise _too_large(url, total, limit)
        with part.open("ab" if goes_on else "wb") as file:
            for block in arriving:
                have += len(block or b"")
                if have > limit:
                    raise _too_large(url, have, limit)
                file.write(block or b"")
                file.flush()
                progress(
                    have / total if total else 0.0,
                    f"Downloading {part.stem}: {readable(have)}" + (f" of {readable(total)}" if total else ""),
                )
    if total is not None and have < total:
        raise _BrokenOffError


def _arriving(request: urllib.request.Request) -> Generator[Any, None, None]:
    """The answer, then its blocks as they come; None after each `PATIENCE` in which nothing came, so that whoever waits can be cancelled.

    A thread waits for the network; one that is not needed any more ends with its connection, `TIMEOUT` later at most.
    """
    arrived: queue.Queue[Any] = queue.Queue(maxsize=4)
    unwanted = threading.Event()

    def hand_on(item: object) -> None:
        while not unwanted.is_set():
            with suppress(queue.Full):
                arrived.put(item, timeout=PATIENCE)
                return

    def fetch() -> None:
        try:
            with _opener().open(request, timeout=TIMEOUT) as answer:
                hand_on(answer)
                while not unwanted.is_set() and (block := answer.read1(BLOCK)):
                    hand_on(block)
            hand_on(b"")
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            hand_on(error)

    threading.Thread(target=fetch, daemon=True).start()
    try:
        while True:
            try:
                item = arrived.get(timeout=PATIENCE)
            except queue.Empty:
                yield None
                continue
            if isinstance(item, Exception):
                raise item
            if item == b"":
                return
            yield item
    finally:
        unwanted.set()


def _copy(url: str, part: Path, progress: Progress, size: int | None) -> None:
    source = Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path))
    if not source.is_file():
        raise EngineError("download-failed", f"The file '{source}' of the catalogue does not exist. Check the address.")
    limit = size or MAX_BYTES
    have = 0
    with open_regular(source, f"'{source}'") as file, part.open("wb") as copy:
        while block := file.read(BLOCK):
            have += len(block)
            if have > limit:
                raise _too_large(url, have, limit)
            copy.write(block)
            progress(have / size if size else 0.0, f"Copying {part.stem}: {readable(have)}")


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS alone, so that no redirection leads to a local file or elsewhere."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def _starts_at(answer: http.client.HTTPResponse, have: int) -> bool:
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return found is not None and int(found.group(1)) == have


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split())[:200]


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc or "this machine"


def _too_large(url: str, size: int, limit: int) -> EngineError:
    return EngineError(
        "download-size",
        f"{_host(url)} sends {size} bytes where the catalogue allows for {limit}, so nothing more was fetched. "
        "Ask whoever keeps the catalogue.",
    )
