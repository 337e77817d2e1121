"""A network's forward pass by OpenVINO: on a CPU faster than PyTorch, and in memory that it uses again.

The network goes through OpenVINO's own reader of PyTorch modules. `openvino.convert_model`, the usual way, reports its use to the makers of OpenVINO
unless the user has declined; nothing here sends anything.
"""

from __future__ import annotations

import warnings
from importlib.metadata import version
from importlib.util import find_spec
from weakref import WeakKeyDictionary

import torch
from torch import nn

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


class OpenVinoNetwork:
    """Logits (B, K, *window) of windows (B, C, *window) of one size, float32, one window after the other.

    Args:
        network: On the CPU, in eval mode.
        window: An example (1, C, *window): the shape is fixed, since other shapes may compute something else.

    Raises:
        Exception: Whatever OpenVINO cannot read or compile.
    """

    def __init__(self, network: nn.Module, window: torch.Tensor) -> None:
        import openvino
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        reader = FrontEndManager().load_by_framework("pytorch")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes that become constants, which they are here
            traced = TorchScriptPythonDecoder(_MainOutput(network).eval(), example_input=window)
        model = reader.convert(reader.load(traced))
        model.reshape(list(window.shape))
        settings = SETTINGS | {"INFERENCE_NUM_THREADS": torch.get_num_threads()}
        self._request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """As the network itself answers."""
        return torch.cat([self._one(image[None]) for image in images])

    def _one(self, image: torch.Tensor) -> torch.Tensor:
        found = self._request.infer([image.contiguous().numpy()], share_inputs=True, share_outputs=True)[0]
        return torch.from_numpy(found.copy())  # the next window is computed in the same memory


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


class _MainOutput(nn.Module):
    """A network that returns its prediction alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return main_output(self.network(images), images.ndim - 2)
