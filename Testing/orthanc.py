"""A PACS of the tests' own on loopback: Orthanc with its DICOMweb plugin, over TLS, for users with a password.

TLS ends in a relay before it, as it does in a reverse proxy before most archives: Orthanc 1.10.1 of Debian 12 crashes with its own.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from sshd import REQUIRED, Relay, server_program

PLUGINS = ("/usr/share/orthanc/plugins/libOrthancDicomWeb.so", "/usr/local/share/orthanc/plugins/libOrthancDicomWeb.so")

USER, PASSWORD = "reader", "a secret: with a colon"


@dataclass
class Orthanc:
    """The running server.

    Attributes:
        port: Of its plain HTTP.
        certificate: File of the relay's certificate, which it has signed itself.
        folder: Of all its files.
        relay: Ends TLS, counts and cuts.
    """

    port: int
    certificate: Path
    folder: Path
    relay: Relay

    @property
    def url(self) -> str:
        return f"https://localhost:{self.relay.port}/dicom-web"

    def ask(self, path: str, method: str = "GET", data: bytes | None = None) -> bytes:
        """Of Orthanc's own interface."""
        request = urllib.request.Request(f"http://localhost:{self.port}{path}", data, method=method)
        request.add_header("Authorization", "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode())
        with urllib.request.urlopen(request, timeout=20) as answer:
            return bytes(answer.read())

    def instances(self) -> list[str]:
        """Orthanc's identifiers of all that it has."""
        return list(json.loads(self.ask("/instances")))

    def file(self, instance: str) -> bytes:
        """A DICOM file as it is stored."""
        return self.ask(f"/instances/{instance}/file")

    def put(self, file: Path) -> None:
        self.ask("/instances", "POST", file.read_bytes())

    def clear(self) -> None:
        for study in json.loads(self.ask("/studies")):
            self.ask(f"/studies/{study}", "DELETE")


@contextmanager
def running_orthanc(folder: Path) -> Iterator[Orthanc]:
    """An Orthanc that keeps everything in `folder`."""
    program = server_program("Orthanc", "orthanc")
    openssl = server_program("openssl", "openssl")
    plugin = next((one for one in PLUGINS if Path(one).exists()), None)
    if plugin is None:
        missing = "Orthanc's DICOMweb plugin is not installed (Debian: orthanc-dicomweb)"
        pytest.fail(missing) if os.environ.get(REQUIRED) else pytest.skip(missing)
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    certificate = _make_certificate(openssl, folder)
    settings = {
        "Name": "tests",
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [plugin],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "OverwriteInstances": False,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, folder / "key.pem")
    relay = Relay(port, tls=tls)
    with (
        (folder / "orthanc.log").open("wb") as log,
        subprocess.Popen([program, folder / "orthanc.json"], stdout=log, stderr=log, cwd=folder) as process,
        relay.running(),
    ):
        server = Orthanc(port, certificate, folder, relay)
        try:
            _wait_for(server, process)
            yield server
        finally:
            process.kill()


def _make_certificate(openssl: str, folder: Path) -> Path:
    """One that it has signed itself, for `localhost`."""
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = ["-keyout", folder / "key.pem", "-out", folder / "certificate.pem"]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *made]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "certificate.pem"


def _wait_for(server: Orthanc, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and process.poll() is None:
        with suppress(OSError):
            server.ask("/system")
            return
        time.sleep(0.1)
    pytest.fail(f"Orthanc does not answer: {(server.folder / 'orthanc.log').read_text()}")
