"""How a PACS is spoken to over HTTP: no redirections, the authority that the user names before any other, and no answer without an end.

A server says how much it sends, or nothing at all. So bytes are counted as they come, before they are kept, and what is packed is refused:
some kilobytes of it can stand for gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psutil
import requests

from SegHiResCAMLib.dicomweb.pacs import ArchiveError

LARGEST_ANSWER = 2**24
"""Bytes of an answer in JSON: some ten thousand series."""

LARGEST_OBJECT = 2**32
"""Bytes of one DICOM object, where memory is not shorter."""

LARGEST_SERIES = 2**36
"""Bytes of a whole series, which goes to the disk object by object."""

SHARE_OF_MEMORY = 0.25
"""Of what is free that an object may have: as it comes, taken apart, and as it is written."""


class ArchiveSession(requests.Session):  # type: ignore[misc]  # untyped
    """A session of one server.

    Args:
        auth: As requests takes it; None for what `~/.netrc` says.
        authority: File of certificates of authorities; None for those of the system, or of requests' own variables.
        certificate: File with certificate and key of this client; None for none.
        host: The server's name, for messages.
    """

    def __init__(self, auth: Any, authority: str | None, certificate: str | None, host: str) -> None:
        super().__init__()
        self.max_redirects = 0
        self.auth, self.cert = auth, certificate
        self.headers["Accept-Encoding"] = "identity"
        self._authority, self._host = authority, host
        self._body: _BoundedBody | None = None

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """As requests has it, but for the authority, which its variables would override."""
        return super().merge_environment_settings(url, proxies, stream, self._authority or verify, cert)

    def send(self, request: Any, **options: Any) -> Any:
        """As requests has it, but for an answer's size: see the limits above.

        Raises:
            ArchiveError: `dicomweb-too-large`, when more comes; in a stream, when more of one object comes.
        """
        is_stream = bool(options.get("stream"))
        response = super().send(request, **(options | {"stream": True}))
        if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            response.close()
            raise ValueError("an answer that is packed, which nobody asked for")
        limit = int(min(LARGEST_OBJECT, psutil.virtual_memory().available * SHARE_OF_MEMORY))
        self._body = _BoundedBody(response.raw, self._host, limit if is_stream else min(LARGEST_ANSWER, limit))
        response.raw = self._body
        if not is_stream:
            _ = response.content  # requests keeps it
        return response

    def object_came(self) -> None:
        """Count the next object of a stream from here."""
        if self._body is not None:
            self._body.count = 0


class _BoundedBody:
    """The body of an answer, as requests reads it.

    Args:
        raw: Of urllib3.
        host: The server's name, for messages.
        limit: Bytes until somebody sets `count` back.
    """

    def __init__(self, raw: Any, host: str, limit: int) -> None:
        self._raw, self._host, self._limit = raw, host, limit
        self.count = self._total = 0

    def stream(self, amount: int, decode_content: bool | None = None) -> Iterator[bytes]:
        for data in self._raw.stream(amount, decode_content=decode_content):
            self.count += len(data)
            self._total += len(data)
            limit = self._limit if self.count > self._limit else LARGEST_SERIES
            if self.count > self._limit or self._total > LARGEST_SERIES:
                self._raw.close()
                raise ArchiveError(
                    "dicomweb-too-large",
                    f"'{self._host}' sends more than {limit / 2**20:.0f} MiB in one piece, and was stopped before it fills this computer's memory "
                    "or disk. If the series is as large as that, read it on a computer with more free memory; otherwise ask the server's administrator.",
                )
            yield data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)
