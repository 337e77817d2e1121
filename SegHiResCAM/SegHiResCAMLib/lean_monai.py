"""MONAI without the libraries that it would import for what nothing here uses: they take a quarter of the time in which the engine starts.

MONAI imports all of itself at once, and each part the libraries that it could make use of: for plots, for metrics of embeddings, for ultrasound. It
does without what is not installed, and that is what this makes of them, until MONAI is there; afterwards they can be imported as ever.

Only a process whose owner wants it is changed: the worker, the command, and those of a study. An API user's own MONAI stays whole.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

UNUSED = ("matplotlib", "sklearn", "scipy.signal")
"""Of all that MONAI makes use of where it is installed."""


def import_lean_monai() -> None:
    """When MONAI is first imported in this process, do it without `UNUSED`; does nothing where it has been imported."""
    if "monai" not in sys.modules and not any(isinstance(one, _Finder) for one in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds MONAI, once."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "monai":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Lean(spec.loader)
        return spec


class _Lean(Loader):
    """Runs a module while `UNUSED` are hidden."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader  # whoever asks for files beside it asks that one
        with _hidden(UNUSED):
            self._loader.exec_module(module)


@contextmanager
def _hidden(names: Sequence[str]) -> Iterator[None]:
    """While open, these modules cannot be imported, unless they have been."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # as the language has it: None is not to be found
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
