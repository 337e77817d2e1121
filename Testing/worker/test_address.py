"""What users type as a computer: text, never an option or a command of ssh."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SegHiResCAMLib.worker.address import Address, AddressError
from SegHiResCAMLib.worker.transports import OPTIONS, There


@pytest.mark.parametrize(
    ("text", "destination", "command"),
    [
        ("gpu", "gpu", "seghirescam"),
        (" me@gpu-1.hospital.org ", "me@gpu-1.hospital.org", "seghirescam"),
        ("192.0.2.7", "192.0.2.7", "seghirescam"),
        ("HOSPITAL\\me@gpu", "HOSPITAL\\me@gpu", "seghirescam"),
        ("me@hospital.org@gpu", "me@hospital.org@gpu", "seghirescam"),
        ("me@gpu:/opt/cam/bin/seghirescam", "me@gpu", "/opt/cam/bin/seghirescam"),
        ("me@gpu:~/.local/bin/seghirescam", "me@gpu", "~/.local/bin/seghirescam"),
        ("me@gpu:C:\\cam\\seghirescam.exe", "me@gpu", "C:\\cam\\seghirescam.exe"),
    ],
)
def test_an_address_is_a_destination_and_a_command_there(text: str, destination: str, command: str) -> None:
    assert Address.of(text) == Address(destination, command)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-", "-oProxyCommand=touch /tmp/x", "-oProxyCommand=x@gpu", "me@-oProxyCommand=x", "-l@gpu"),
        *(
            "me@gpu -oProxyCommand=x",
            "gpu;reboot",
            "gpu$(reboot)",
            "`reboot`",
            "me'@gpu",
            "gpu\n-oX",
            "gpu\0",
            "gp\u0443",
        ),
        *(
            "gpu:",
            "gpu:-x",
            "gpu:/bin/sh -c reboot",
            "gpu:$(reboot)",
            "gpu:`x`",
            "gpu:a;b",
            "gpu:a|b",
            "gpu:a&b",
            "gpu:%x",
        ),
        *("ssh://me@gpu", "[fe80::1]", "me@", "@gpu", "\\me@gpu", "me\\@gpu", "x" * 500),
    ],
)
def test_anything_else_is_refused_with_a_message(text: str) -> None:
    with pytest.raises(AddressError) as raised:
        Address.of(text)
    assert "user@host" in raised.value.message


@given(st.text(alphabet=string.printable, max_size=40))
def test_whatever_is_typed_no_argument_of_ssh_begins_as_an_option(text: str) -> None:
    try:
        address = Address.of(text)
    except AddressError:
        return
    there = There(address)
    *options, stop, destination, command = there.command(None)[1:] if there else ()
    assert tuple(options) == OPTIONS
    assert stop == "--"
    assert not destination.startswith("-")
    assert not set(command) & set("$`;&|<>()'\"%*?!#{}[]\n\r\t")
    assert command.endswith(" worker")
