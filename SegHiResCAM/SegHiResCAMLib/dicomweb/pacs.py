"""A DICOMweb server: its address, who may use it, and what is said when it does not do what it is asked.

Credentials come from the environment or from a file, never from the command line, which other users of the computer can read. They and patients'
images travel encrypted, or not at all: plain `http` leads to this computer alone, and redirections are not followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from SegHiResCAMLib.user_error import UserError

if TYPE_CHECKING:
    from dicomweb_client.web import DICOMwebClient

TOKEN = "SEGHIRESCAM_DICOMWEB_TOKEN"
"""Environment variable: a bearer token."""

USER, PASSWORD = "SEGHIRESCAM_DICOMWEB_USER", "SEGHIRESCAM_DICOMWEB_PASSWORD"
"""Environment variables: a name and a password. Without them, `~/.netrc` is asked, or the file that NETRC names."""

AUTHORITY = "SEGHIRESCAM_DICOMWEB_CA"
"""Environment variable: a file of certificates of authorities that sign the server's, where the system does not know them."""

CERTIFICATE = "SEGHIRESCAM_DICOMWEB_CERTIFICATE"
"""Environment variable: a file with a certificate and key of this client, for servers that ask for one."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")

TIMEOUT = (15.0, 300.0)
"""Seconds until a connection is there, and between two pieces of an answer: a PACS may have to fetch a series from tape."""


class ArchiveError(UserError):
    """A PACS does not do what it is asked."""


NOTHING_SENT = ("dicomweb-certificate", "dicomweb-address")
"""Codes of errors before anything of a patient has left this computer."""


NO_ANSWER = (ValueError, KeyError, TypeError, AttributeError, EOFError, OSError, OverflowError, RecursionError)
"""What libraries raise of an answer that is not what it was to be."""


class ArchiveConnection:
    """The client of a server, its session, and the server's name for messages.

    Args:
        url: Base address of the DICOMweb service.

    Raises:
        ArchiveError: `dicomweb-address`, `dicomweb-missing`.
    """

    def __init__(self, url: str) -> None:
        self.host = _checked(url)
        try:
            from dicomweb_client.web import DICOMwebClient

            from SegHiResCAMLib.dicomweb.session import ArchiveSession
        except ImportError as problem:
            message = (
                "DICOMweb needs the package dicomweb-client. Install it with: pip install 'seghirescam[dicomweb]'."
            )
            raise ArchiveError("dicomweb-missing", message) from problem
        self.session = ArchiveSession(_credentials(), _file_in(AUTHORITY), _file_in(CERTIFICATE), self.host)
        self.client: DICOMwebClient = DICOMwebClient(url.rstrip("/"), self.session, timeout=TIMEOUT)
        self.client.set_http_retry_params(retry=False)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Turns what goes wrong while the server is asked into messages.

        Raises:
            ArchiveError: It went wrong.
        """
        import pydicom
        import requests

        try:
            yield
        except requests.exceptions.HTTPError as problem:
            raise ArchiveError("dicomweb-refused", self._refused(problem)) from problem
        except requests.exceptions.TooManyRedirects as problem:
            message = f"'{self.host}' redirects to another address, which is not followed. Give the final address with --dicomweb."
            raise ArchiveError("dicomweb-address", message) from problem
        except requests.exceptions.JSONDecodeError as problem:
            raise self._not_understood() from problem
        except requests.exceptions.RequestException as problem:
            raise self._unreachable(problem) from problem
        except (*NO_ANSWER, pydicom.errors.InvalidDicomError) as problem:  # of what was to be DICOM or JSON
            raise self._not_understood() from problem

    def _not_understood(self) -> ArchiveError:
        message = f"'{self.host}' answered with something that is not DICOMweb. Check the address: it ends as '/dicom-web' or '/rs' on many servers."
        return ArchiveError("dicomweb-answer", message)

    def _unreachable(self, problem: Exception) -> ArchiveError:
        if "CERTIFICATE_VERIFY_FAILED" in str(problem):
            message = (
                f"The certificate of '{self.host}' is not trusted, so nothing was sent. If your hospital signs its own certificates, set {AUTHORITY} to "
                "the file of its authority's certificate."
            )
            return ArchiveError("dicomweb-certificate", message)
        message = f"'{self.host}' cannot be reached ({_reason(problem)}). Check the address, the network, and that the server runs."
        return ArchiveError("dicomweb-unreachable", message)

    def _refused(self, problem: Any) -> str:
        status = problem.response.status_code if problem.response is not None else 0
        if status in (401, 403):
            return f"'{self.host}' refused the access (HTTP {status}). Set {USER} and {PASSWORD}, or {TOKEN}, or add the server to ~/.netrc."
        if status == 404:
            return f"'{self.host}' does not have what was asked for (HTTP 404). Check the UID, and the address of the DICOMweb service."
        if status == 413:
            return (
                f"'{self.host}' does not take objects of this size (HTTP 413). Its administrator can raise the limit."
            )
        return f"'{self.host}' could not do what it was asked (HTTP {status}). Its log says why."


def _checked(url: str) -> str:
    """The server's name."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = (
            f"'{url}' is not the address of a DICOMweb service. Give one like https://pacs.hospital.org/dicom-web."
        )
        raise ArchiveError("dicomweb-address", message)
    if parts.username or parts.password:
        message = (
            "The address has a user or a password in it, which others can read in the list of processes. Leave them out, and set "
            f"{USER} and {PASSWORD}, or add the server to ~/.netrc."
        )
        raise ArchiveError("dicomweb-address", message)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        message = (
            f"'{parts.hostname}' would be asked without encryption, so that others could read the patient's images on the way. Give an address that "
            "begins with https://."
        )
        raise ArchiveError("dicomweb-address", message)
    return parts.hostname


def _file_in(variable: str) -> str | None:
    """The file that an environment variable names; None where it is not set."""
    name = os.environ.get(variable)
    if name and not Path(name).is_file():
        message = f"There is no file '{name}', which {variable} names. Correct the variable."
        raise ArchiveError("dicomweb-certificate", message)
    return name or None


def _credentials() -> Any:
    """What the environment gives; None for what `~/.netrc` gives, which the library reads by itself."""
    token, user = os.environ.get(TOKEN), os.environ.get(USER)
    if token:

        def with_token(request: Any) -> Any:
            request.headers["Authorization"] = f"Bearer {token}"
            return request

        return with_token
    return (user.encode(), os.environ.get(PASSWORD, "").encode()) if user else None


def _reason(problem: BaseException) -> str:
    """In words that say more than the library's, and nothing of what was sent."""
    text = str(problem)
    known = {
        "refused": "connection refused",
        "resolve": "unknown name",
        "not known": "unknown name",
        "timed out": "no answer in time",
        "reset": "connection reset",
        "IncompleteRead": "the connection was cut",
        "prematurely": "the connection was cut",
        "Remote end closed": "the connection was cut",
        "aborted": "the connection was cut",
        "EOF occurred": "the connection was cut",
        "Broken pipe": "the connection was cut",
    }
    return next((said for word, said in known.items() if word in text), type(problem).__name__)
