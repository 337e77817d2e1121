"""How a PACS is spoken to over HTTP: no redirections, and the authority that the user names counts before any other."""

from __future__ import annotations

from typing import Any

import requests


class ArchiveSession(requests.Session):  # type: ignore[misc]  # untyped
    """A session of one server.

    Args:
        auth: As requests takes it; None for what `~/.netrc` says.
        authority: File of certificates of authorities; None for those of the system, or of requests' own variables.
        certificate: File with certificate and key of this client; None for none.
    """

    def __init__(self, auth: Any, authority: str | None, certificate: str | None) -> None:
        super().__init__()
        self.max_redirects = 0
        self.auth, self.cert = auth, certificate
        self._authority = authority

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """As requests has it, but for the authority, which its variables would override."""
        return super().merge_environment_settings(url, proxies, stream, self._authority or verify, cert)
