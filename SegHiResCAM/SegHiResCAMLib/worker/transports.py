"""Ways to a worker: a child process of this computer, or one on another computer, reached by the user's own OpenSSH.

Both speak the same lines. Here, arrays are files in a folder that both ends see; there, they travel as frames between the lines (`frames.py`).
What differs is in this module: how a worker is started, and what is said of one that cannot be, or that ended.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from SegHiResCAMLib.child_process import system_environment
from SegHiResCAMLib.plain_text import plain
from SegHiResCAMLib.worker.address import Address
from SegHiResCAMLib.worker.protocol import VERSION


class Transport(Protocol):
    """What the supervisor asks of a way to a worker."""

    @property
    def shares_folder(self) -> bool:
        """Whether the worker sees this computer's files."""

    @property
    def name(self) -> str:
        """Of the computer; empty for this one."""

    def command(self, folder: Path) -> list[str]:
        """What starts a worker; `folder` is this end's private one.

        Raises:
            OSError: There is nothing to start it with.
        """

    def environment(self) -> Mapping[str, str] | None:
        """Of the process that is started; None for that of children of this library."""

    def not_started(self, problem: OSError) -> str:
        """For the user, when the process cannot be started."""

    def never_ready(self, code: int, log: Sequence[str]) -> str:
        """For the user, when it ended before it said that it is ready."""

    def other_version(self, version: int) -> str:
        """For the user, when it speaks another version of the protocol."""

    def died(self, code: int, log: Sequence[str]) -> str:
        """For the user, when it ended while it computed."""

    def not_understood(self, what: str) -> str:
        """For the user, when it sent what nobody asked for."""


@dataclass(frozen=True)
class Here:
    """A child process of this computer.

    Args:
        start: The command, without its last argument, the folder.
    """

    start: Sequence[str]
    shares_folder: bool = True
    name: str = ""

    def command(self, folder: Path) -> list[str]:
        """See `Transport`."""
        return [*self.start, str(folder)]

    def environment(self) -> Mapping[str, str] | None:
        """See `Transport`."""
        return None

    def not_started(self, problem: OSError) -> str:
        """See `Transport`."""
        return f"'{self.start[0]}' cannot be started ({problem.strerror}). Check that the installation is complete."

    def never_ready(self, code: int, _log: Sequence[str]) -> str:
        """See `Transport`."""
        return f"'{self.start[0]}' ended before it was ready ({_how(code)}). The log says why. Check that the installation is complete."

    def other_version(self, version: int) -> str:
        """See `Transport`."""
        return (
            f"The computing process speaks version {version} of the protocol, this program version {VERSION}. "
            "Restart the program, and install it again if that does not help."
        )

    def died(self, code: int, _log: Sequence[str]) -> str:
        """See `Transport`."""
        if code == -9:
            return (
                "The operating system ended the computing process (signal 9), as it does when memory runs out. Nothing was changed. Close other "
                "programs, crop the volume, or use a model with smaller windows, then try again."
            )
        return f"The computing process ended unexpectedly ({_how(code)}). Nothing was changed. Try again; the log may say why it ended."

    def not_understood(self, what: str) -> str:
        """See `Transport`."""
        return f"The computing process answered with {what}, which nobody asked for, so its answer was refused. Install the program again."


SSH_FAILED = 255
"""Exit code of `ssh` for everything that is not the exit code of the command there."""

NOT_FOUND = 127
"""Exit code of POSIX shells that do not find a command; those of Windows have words for it."""

OPTIONS = (
    *("-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=15"),
    *(
        "-o",
        "ServerAliveInterval=15",
        "-o",
        "ServerAliveCountMax=4",
        "-o",
        "ClearAllForwardings=yes",
        "-o",
        "ForwardAgent=no",
    ),
)
"""No terminal, no questions, no unknown host; a connection that is cut is noticed within a minute; nothing is forwarded."""


@dataclass(frozen=True)
class There:
    """A process on another computer, over OpenSSH.

    Args:
        address: Of the computer.
    """

    address: Address
    shares_folder: bool = False

    @property
    def name(self) -> str:
        """See `Transport`."""
        return self.address.destination

    def command(self, _folder: Path) -> list[str]:
        """See `Transport`."""
        program = shutil.which("ssh", path=self.environment().get("PATH"))
        if program is None:
            raise FileNotFoundError(2, "No such file or directory")
        return [program, *OPTIONS, "--", self.address.destination, f"{self.address.command} worker"]

    def environment(self) -> Mapping[str, str]:
        """See `Transport`."""
        return system_environment()

    def not_started(self, _problem: OSError) -> str:
        """See `Transport`."""
        return (
            f"'{self.name}' cannot be reached, because the program 'ssh' cannot be started on this computer. Install the OpenSSH client (on Windows: "
            "Settings, System, Optional features), then try again."
        )

    def never_ready(self, code: int, log: Sequence[str]) -> str:
        """See `Transport`."""
        if code == NOT_FOUND or any("is not recognized" in line for line in log):
            return (
                f"'{self.name}' does not find the command '{self.address.command}'. Install SegHiResCAM there (pip install seghirescam), or give the "
                f"path of the command: {self.name}:/path/to/seghirescam."
            )
        if code == SSH_FAILED:
            return self._not_connected(log)
        return (
            f"'{self.address.command} worker' ended on '{self.name}' before it was ready ({_how(code)}{_last(log)}). Check that the same version of "
            "SegHiResCAM is installed on both computers."
        )

    def other_version(self, version: int) -> str:
        """See `Transport`."""
        return (
            f"SegHiResCAM on '{self.name}' speaks version {version} of the protocol, this program version {VERSION}. Install the same version of "
            "SegHiResCAM on both computers."
        )

    def died(self, code: int, log: Sequence[str]) -> str:
        """See `Transport`."""
        if code == SSH_FAILED and any(_LOST.search(line) for line in log):
            return (
                f"The connection to '{self.name}' was lost{_last(log, brackets=True)}. Nothing was changed. Try again."
            )
        return (
            f"The computing process on '{self.name}' ended unexpectedly, as it does when memory runs out there. Nothing was changed. Try again; the "
            "log may say why it ended."
        )

    def not_understood(self, what: str) -> str:
        """See `Transport`."""
        return (
            f"'{self.name}' answered with {what}, which nobody asked for, so its answer was refused and the connection ended. Install the same version "
            "of SegHiResCAM on both computers."
        )

    def _not_connected(self, log: Sequence[str]) -> str:
        said = "\n".join(log)
        for pattern, advice in _REASONS:
            if re.search(pattern, said):
                return f"'{self.name}' {advice.format(name=self.name)}"
        return f"The connection to '{self.name}' failed{_last(log, brackets=True)}. Try 'ssh {self.name}' in a terminal, which says more."


_LOST = re.compile(
    r"closed by remote host|client_loop|Connection reset|Broken pipe|not responding|Connection to \S+ closed"
)
"""What `ssh` prints when a connection that was there ends."""

_REASONS = (
    (
        r"IDENTIFICATION HAS CHANGED",
        (
            "has another host key than the one that this computer knows. Either the server was reinstalled, or another computer answers in its place. "
            "Ask its administrator before you connect again."
        ),
    ),
    (
        r"Host key verification failed|host key is known",
        (
            "is not known to this computer. Connect once in a terminal with 'ssh {name}', compare the fingerprint with the one that the server's "
            "administrator gives you, then try again."
        ),
    ),
    (
        r"Permission denied|Too many authentication failures",
        (
            "refused the login. No password is asked for here: set up a key with 'ssh-keygen' and 'ssh-copy-id {name}' (a key with a passphrase must be "
            "in ssh-agent), then try again."
        ),
    ),
    (
        r"Could not resolve hostname",
        "was not found: nobody on the network has this name. Check it, and that the network (VPN) is there.",
    ),
    (
        r"timed out|No route to host|Network is unreachable",
        "did not answer. Check that the computer is on, and that the network (VPN) leads there.",
    ),
    (
        r"Connection refused",
        "refused the connection. Check that an SSH server runs there, and its port in ~/.ssh/config.",
    ),
)
"""What `ssh` prints when it cannot connect, and what is said of it, after the computer's name."""


def transport_to(on: str, start: Sequence[str]) -> Transport:
    """The way to the computer `on`; empty for this one, where `start` starts a worker.

    Raises:
        AddressError: It is not the address of a computer.
    """
    return There(Address.of(on)) if on else Here(start)


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _last(log: Sequence[str], *, brackets: bool = False) -> str:
    """The last line of a log, for the end of a message."""
    line = next((plain(line).strip()[:200] for line in reversed(log) if line.strip()), "")
    return "" if not line else f" ({line})" if brackets else f": {line}"
