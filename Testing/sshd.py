"""An SSH server of the tests' own on loopback, reached through a relay that counts bytes, slows them down, or cuts the connection."""

from __future__ import annotations

import getpass
import os
import select
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from SegHiResCAMLib.child_process import LIBRARY

REQUIRED = "SEGHIRESCAM_REQUIRE_SERVERS"
"""Set where servers that tests start are installed: their absence fails there, and elsewhere the tests are skipped."""

NAME = "gpu"
"""Of the server, as the tests' ssh knows it."""


def server_program(name: str, package: str) -> str:
    """The path of a server's program; without it, the test is skipped, or fails where it is required."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if found is None:
        missing = f"{name} is not installed (Debian: {package})"
        pytest.fail(missing) if os.environ.get(REQUIRED) else pytest.skip(missing)
    return found


@dataclass
class Relay:
    """Between a client and a server.

    Attributes:
        up: Bytes that came from the client.
        down: Bytes that came from the server.
        cut_up: The connection is cut once `up` has come so far; None for never.
        cut_down: The same of `down`.
        bytes_per_second: How fast bytes go up; None for at once.
        tls: With which the relay decrypts what comes; None for what passes as it is.
    """

    target: int
    up: int = 0
    down: int = 0
    cut_up: int | None = None
    cut_down: int | None = None
    bytes_per_second: float | None = None
    tls: ssl.SSLContext | None = None
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    @contextmanager
    def running(self) -> Iterator[Relay]:
        threading.Thread(target=self._run, daemon=True).start()
        try:
            yield self
        finally:
            self.listener.close()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                ours, _ = self.listener.accept()
                threading.Thread(target=self._connect, args=[ours], daemon=True).start()

    def _connect(self, ours: socket.socket) -> None:
        with suppress(OSError), ours, socket.create_connection(("127.0.0.1", self.target)) as theirs:
            client = self.tls.wrap_socket(ours, server_side=True) if self.tls else ours
            ways = {client: (theirs, "up"), theirs: (client, "down")}
            with client:
                while self._carry(ways):
                    pass

    def _carry(self, ways: dict[socket.socket, tuple[socket.socket, str]]) -> bool:
        """What has come, to the other side; False once the connection has ended, or is to be cut."""
        ready = [one for one in ways if isinstance(one, ssl.SSLSocket) and one.pending()]
        for source in ready or select.select(list(ways), [], [])[0]:
            sink, way = ways[source]
            data = source.recv(16384)
            setattr(self, way, getattr(self, way) + len(data))
            limit = getattr(self, f"cut_{way}")
            if not data or (limit is not None and getattr(self, way) > limit):
                return False
            if way == "up" and self.bytes_per_second:
                time.sleep(len(data) / self.bytes_per_second)
            sink.sendall(data)
        return True


@dataclass
class Server:
    """The running sshd.

    Attributes:
        folder: Of its keys and settings.
        temporary: What is the temporary folder there.
        cache: Of models there.
        relay: On the way to it.
    """

    folder: Path
    temporary: Path
    cache: Path
    relay: Relay
    process: subprocess.Popen[bytes]

    def kill_sessions(self) -> None:
        """As when the server's computer loses power: every process of a connection ends at once."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()


@contextmanager
def running_sshd(folder: Path) -> Iterator[Server]:
    """An sshd that knows one key, and a program `ssh` in `folder / "bin"` that knows the server as `NAME`."""
    sshd, ssh, keygen = (
        server_program(name, "openssh-server, openssh-client") for name in ("sshd", "ssh", "ssh-keygen")
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it confines what nobody has logged in to yet
    temporary, cache = folder / "tmp there", folder / "cache there"
    for made in (temporary, cache, folder / "bin"):
        made.mkdir()
    for key in ("host", "other_host", "user", "stranger"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    (folder / "authorized_keys").write_bytes((folder / "user.pub").read_bytes())
    port = _free_port()
    there = {"TMPDIR": temporary, "SEGHIRESCAM_CACHE": cache, "OMP_NUM_THREADS": 1, "PYTHONPATH": LIBRARY}
    settings = [
        *(f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder}/host", "PidFile none", "UsePAM no"),
        *(f"AuthorizedKeysFile {folder}/authorized_keys", "StrictModes no", "PasswordAuthentication no"),
        *("KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password"),
        "SetEnv " + " ".join(f'"{name}={value}"' for name, value in there.items()),
    ]
    (folder / "sshd_config").write_text("\n".join(settings) + "\n")
    relay = Relay(port)
    _write_client(folder, ssh, relay.port)
    with (
        (folder / "sshd.log").open("wb") as log,
        subprocess.Popen([sshd, "-D", "-e", "-f", folder / "sshd_config"], stderr=log) as process,
        relay.running(),
    ):
        try:
            _wait_for(port, process, folder / "sshd.log")
            yield Server(folder, temporary, cache, relay, process)
        finally:
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            process.kill()


def know_host(folder: Path, key: str = "host") -> None:
    """Write the public key that the client takes for the server's."""
    port = next(line.split()[1] for line in (folder / "ssh_config").read_text().splitlines() if "Port" in line)
    public = " ".join((folder / f"{key}.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")


def _write_client(folder: Path, ssh: str, port: int) -> None:
    config = [
        *("Host *", f"IdentityFile {folder}/user", "IdentitiesOnly yes", f"User {getpass.getuser()}", f"Port {port}"),
        *(f"UserKnownHostsFile {folder}/known_hosts", "GlobalKnownHostsFile /dev/null"),
        *(f"Host {NAME}", "HostName 127.0.0.1"),
    ]
    (folder / "ssh_config").write_text("\n".join(config) + "\n")
    know_host(folder)
    program = folder / "bin" / "ssh"
    program.write_text(f'#!/bin/sh\nexec {ssh} -F "{folder}/ssh_config" "$@"\n')
    program.chmod(0o755)


def command_there() -> str:
    """The path of the command `seghirescam` of this environment."""
    return str(Path(sys.executable).with_name("seghirescam"))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    pytest.fail(f"sshd does not answer: {log.read_text()}")
