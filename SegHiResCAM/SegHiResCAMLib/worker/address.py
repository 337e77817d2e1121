"""Another computer, as a user types it: `user@host`, or a name from `~/.ssh/config`; the standard library only.

What is typed ends up among the arguments of `ssh` and, as the path of the command, in a line for the shell there. So only characters that
mean nothing to either are allowed, and nothing can begin as an option does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from SegHiResCAMLib.user_error import UserError

COMMAND = "seghirescam"
"""Runs there where the user names no other path."""

LONGEST = 400
"""Characters of an address: a host's name has 255 at most."""

_ADDRESS = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_](?:[A-Za-z0-9_.+@\\-]*[A-Za-z0-9_.+-])?)@)?"
    r"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*)"
    r"(?::(?P<command>(?:[A-Za-z]:)?[A-Za-z0-9_.~/\\][A-Za-z0-9_.~/\\+-]*))?"
)
"""Users of a Windows domain are `DOMAIN\\user` or `user@domain`; a path on Windows begins with its drive."""


class AddressError(UserError):
    """What was typed is not the address of a computer.

    Args:
        text: It.
    """

    def __init__(self, text: str) -> None:
        super().__init__(
            "address-malformed",
            f"'{text[:LONGEST]}' is not the address of a computer. Give user@host, or a name from ~/.ssh/config, where a port and keys can be set; "
            "if the command is not on the PATH there, add its path after a colon: user@host:/opt/seghirescam/bin/seghirescam.",
        )


@dataclass(frozen=True)
class Address:
    """A computer that `ssh` reaches.

    Attributes:
        destination: What `ssh` is given: `user@host` or `host`.
        command: The command `seghirescam` there, or its path.
    """

    destination: str
    command: str = COMMAND

    @classmethod
    def of(cls, text: str) -> Address:
        """Of what a user typed: `[user@]host[:path of seghirescam]`.

        Raises:
            AddressError: It is not an address.
        """
        found = _ADDRESS.fullmatch(text.strip()) if len(text) <= LONGEST else None
        if found is None:
            raise AddressError(text)
        user = f"{found['user']}@" if found["user"] else ""
        return cls(f"{user}{found['host']}", found["command"] or COMMAND)
