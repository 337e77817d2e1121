"""Ctrl-C, SIGTERM and SIGHUP end a command within two seconds, whatever it computes, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from SegHiResCAMLib.writing.sweeping import remove_all

CANCELLED = "Cancelled. Nothing was written."

GRACE = 0.8
"""Seconds in which a command may end by itself: Python hears of a signal only when a library's function returns, which can take minutes."""

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]


@dataclass
class Cancellation:
    """Whether a command was cancelled.

    Attributes:
        message: For the user.
        signal: That cancelled it; 0 for none.
        is_over: Whether it has done all there was to do, so that it is too late.
        is_reported: Whether the user was given the message.
    """

    message: str = CANCELLED
    signal: int = 0
    is_over: bool = False
    is_reported: bool = False

    @property
    def exit_code(self) -> int:
        """As shells have it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + (self.signal or signal.SIGINT)


@contextmanager
def listening(state: Cancellation) -> Iterator[None]:
    """Turn signals into `KeyboardInterrupt`, and end the process where that does not get through. Only the main thread can do so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def cancel(number: int, _frame: FrameType | None) -> None:
        if not state.signal:  # a second one would interrupt what removes the files
            state.signal = number
            raise KeyboardInterrupt

    # Who starts a command with nohup wants it to outlive the terminal.
    before = {one: signal.getsignal(one) for one in SIGNALS if signal.getsignal(one) not in (signal.SIG_IGN, None)}
    heard, wakes = socket.socketpair()
    wakes.setblocking(False)
    ended = threading.Event()
    threading.Thread(target=_watch, args=(state, heard, ended, set(before)), daemon=True).start()
    previous = signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    for one in before:
        signal.signal(one, cancel)
    try:
        yield
        state.is_over = True
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        signal.set_wakeup_fd(previous)
        if state.is_over or not state.signal:  # else the process has little time to end: its libraries may take more
            ended.set()
        wakes.close()


def _watch(state: Cancellation, heard: socket.socket, ended: threading.Event, signals: set[int]) -> None:
    """Hear of signals at once, which the main thread does not while it is inside a library."""
    with heard:
        while data := heard.recv(64):
            numbers = [number for number in data if number in signals]
            if numbers and not ended.wait(GRACE):
                _end(numbers[0], "" if state.is_reported else state.message)


def _end(number: int, message: str) -> None:
    """At once, from another thread: the main thread is inside a library."""
    remove_all()
    if not message:
        os._exit(128 + number)
    show_cursor = "\x1b[?25h" if sys.stderr is not None and sys.stderr.isatty() else ""
    with suppress(OSError):
        os.write(2, f"{show_cursor}\n{message}\n".encode())
    os._exit(128 + number)
