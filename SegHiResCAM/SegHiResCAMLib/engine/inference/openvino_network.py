"""A network's forward pass by OpenVINO: on a CPU faster than PyTorch, and in memory that it uses again.

The network goes through OpenVINO's own reader of PyTorch modules. `openvino.convert_model`, the usual way, reports its use to the makers of OpenVINO
unless the user has declined; nothing here sends anything.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from SegHiResCAMLib.engine.inference.converted_files import keep, kept, key_of
from SegHiResCAMLib.engine.inference.written_out import InstanceNormWrittenOut
from SegHiResCAMLib.engine.output import main_output

_Shape = tuple[int, ...]

_converted: WeakKeyDictionary[nn.Module, dict[_Shape, OpenVinoNetwork]] = WeakKeyDictionary()
"""The latest of each network: the next job has windows of the same size as a rule."""

SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY", "PERFORMANCE_HINT": "LATENCY"}
"""Left to itself, OpenVINO computes in bfloat16 where the processor can."""


def is_installed() -> bool:
    """Whether OpenVINO can be imported here."""
    return find_spec("openvino") is not None


def openvino_version() -> str:
    """Of the installed one."""
    return version("openvino")


class Compiled:
    """A module of torch on tensors of fixed shapes, float32, computed by OpenVINO: other shapes may compute something else.

    Args:
        module: In eval mode, on the CPU; from tensors to one tensor, or a tuple of them.
        examples: What it takes.
        purpose: Tells apart what has the same modules and takes tensors of the same sizes.

    Raises:
        Exception: Whatever OpenVINO cannot read or compile.
    """

    def __init__(self, module: nn.Module, examples: Sequence[torch.Tensor], purpose: str) -> None:
        import openvino

        key = key_of(module, examples, f"{purpose}, {InstanceNormWrittenOut.__name__}")
        model = kept(key)
        if model is None:
            model = _read(module, examples)
            keep(key, model)
        settings = SETTINGS | {"INFERENCE_NUM_THREADS": torch.get_num_threads()}
        self._request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
        """As the module answers."""
        arrays = [one.detach().contiguous().numpy() for one in inputs]
        found = self._request.infer(arrays, share_inputs=True, share_outputs=True)
        # The next inputs are computed in the same memory.
        return [torch.from_numpy(found[number].copy()) for number in range(len(found))]


def _read(module: nn.Module, examples: Sequence[torch.Tensor]) -> Any:
    """OpenVINO's model of a module of torch."""
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    reader = FrontEndManager().load_by_framework("pytorch")
    with warnings.catch_warnings(), InstanceNormWrittenOut():
        warnings.simplefilter("ignore")  # of sizes that become constants, which they are here
        traced = torch.jit.trace(module.eval(), tuple(examples), check_trace=False)  # type: ignore[no-untyped-call]
        decoder = TorchScriptPythonDecoder(torch.jit.freeze(traced))  # which `loaded` needs as long as it is read
    loaded = reader.load(decoder)
    for place, example in zip(loaded.get_inputs(), examples, strict=True):
        loaded.set_element_type(place, openvino.Type.f32)
        loaded.set_partial_shape(place, openvino.PartialShape(list(example.shape)))
    return reader.convert(loaded)


class OpenVinoNetwork:
    """Logits (B, K, *window) of windows (B, C, *window) of one size, float32, one window after the other.

    Args:
        network: On the CPU, in eval mode.
        window: An example (1, C, *window).

    Raises:
        Exception: As `Compiled`.
    """

    def __init__(self, network: nn.Module, window: torch.Tensor) -> None:
        self._compiled = Compiled(_MainOutput(network), [window], "prediction")

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """As the network itself answers."""
        return torch.cat([self._compiled(image[None])[0] for image in images])


def converted(network: nn.Module, shape: _Shape) -> OpenVinoNetwork | None:
    """What has been converted already in this process."""
    return _converted.get(network, {}).get(shape)


def convert(network: nn.Module, window: torch.Tensor) -> OpenVinoNetwork:
    """The network for windows like this one (1, C, *window), converted once.

    Raises:
        Exception: As `OpenVinoNetwork`.
    """
    shape = tuple(window.shape)
    known = converted(network, shape)
    if known is None:
        known = OpenVinoNetwork(network, window)
        _converted[network] = {shape: known}
    return known


def forget_converted(network: nn.Module) -> None:
    """Give back the memory that OpenVINO computes a network in; whatever uses it at the moment keeps it."""
    _converted.pop(network, None)


class _MainOutput(nn.Module):
    """A network that returns its prediction alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return main_output(self.network(images), images.ndim - 2)
