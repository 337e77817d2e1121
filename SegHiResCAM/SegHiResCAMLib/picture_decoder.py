"""Decodes one picture in a process of its own, since decoders in C crash at some bytes: `python -m SegHiResCAMLib.picture_decoder`.

It needs SimpleITK alone, so it starts in tenths of a second. `engine/images/picture_file.py` starts it.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

USE = "picture_decoder FILE READER OUT VALUES BYTES"


def main(arguments: list[str]) -> int:
    """Decode `PICTURE` by SimpleITK's `READER` into the raw file `OUT`, and print as JSON what lies in it.

    More than `VALUES` values are refused before they are decoded; more than `BYTES` of memory are not taken, where the system can see to it.
    """
    if len(arguments) != 5:
        sys.stderr.write(f"{USE}\n")
        return 2
    picture, reader, out, values, memory = arguments
    _bound_memory(int(memory))
    print_to = os.dup(1)
    os.dup2(2, 1)  # what libraries print is not the answer
    try:
        answer = _decode(picture, reader, Path(out), int(values))
    except MemoryError:
        answer = {"too_large": True}
    except RuntimeError as error:  # SimpleITK's
        answer = {"too_large": "alloc" in str(error).lower() or "memory" in str(error).lower()}
    os.write(print_to, json.dumps(answer).encode())
    return 0


def _decode(picture: str, reader_name: str, out: Path, most: int) -> dict[str, Any]:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    reader = sitk.ImageFileReader()
    reader.SetFileName(picture)
    reader.SetImageIO(reader_name)
    reader.ReadImageInformation()
    size, channels = reader.GetSize(), reader.GetNumberOfComponents()
    count = channels
    for length in size:
        count *= length
    if count > most:
        return {"too_large": True, "values": count}
    image = reader.Execute()  # a name, since the view does not keep it
    array = sitk.GetArrayViewFromImage(image)
    array.tofile(out)
    return {"size": list(size), "channels": channels, "dtype": array.dtype.str}


def _bound_memory(most: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    with suppress(ValueError, OSError):  # macOS has no such bound
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
