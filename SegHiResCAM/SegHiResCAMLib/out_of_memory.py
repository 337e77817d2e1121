"""What an error looks like when memory ran out, and what to do then; the standard library only, so that every room can ask.

Of the many libraries that allocate, only Python and numpy have a class for it; the others have words, and wrappers hide even those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORDS = re.compile(
    r"out of (?:host |device )?memory|not enough memory|insufficient memory|memory exhausted|bad[_ ]alloc|"
    r"(?:can'?t|cannot|can not|couldn'?t|could not|unable to|failed to) alloc|alloc(?:ation)?[_ ]fail|"
    r"paging file is too small|error -4 while (?:de)?compressing",
    re.IGNORECASE,
)
"""Of PyTorch on CPUs, CUDA (with cuBLAS and cuDNN) and Apple's GPUs, C++, numpy, ITK, zlib, Linux and Windows."""

_GPU = re.compile(r"\b(?:cuda|cublas|cudnn|hip|mps)\b|cu(?:blas|dnn)_status", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, says that memory ran out."""
    return any(isinstance(one, MemoryError) or _WORDS.search(str(one)) for one in _chain(error))


def out_of_memory_message(error: BaseException) -> str:
    """For the user: what happened, and what to do.

    Args:
        error: One that `is_out_of_memory`.
    """
    if any(_WORDS.search(str(one)) and _GPU.search(str(one)) for one in _chain(error)):
        return (
            "The GPU ran out of memory. Close other programs that use it, set the device to cpu (--device cpu), or use a model with smaller "
            "windows."
        )
    return "Out of memory. Close other programs, crop the volume, or use a model with smaller windows."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from."""
    met: set[int] = set()
    while error is not None and id(error) not in met:
        met.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
