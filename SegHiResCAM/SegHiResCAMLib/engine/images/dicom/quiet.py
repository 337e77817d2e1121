"""pydicom and highdicom, heard by nobody: their warnings quote values, and values may name the patient."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = tuple(map(logging.getLogger, ("pydicom", "highdicom")))


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings, and without records in the log."""
    before = [logger.level for logger in LOGGERS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in LOGGERS:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(LOGGERS, before, strict=True):
                logger.setLevel(level)
