"""TorchScript archives segment as the networks they were made of, hide their layers, and never do more than compute."""

from __future__ import annotations

import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Tuple  # noqa: UP035 - TorchScript asks for it

import pytest
import torch
from monai.networks import nets
from refusals import refusal
from rounding import close
from tiny_bundle import NETWORK, noise, write_tiny_bundle
from torch import nn

from SegHiResCAMLib.engine import ExplainRequest, explain, open_model
from SegHiResCAMLib.engine.answer.model_layers import model_layers
from SegHiResCAMLib.engine.images.volume import read_volume, volume_from_array
from SegHiResCAMLib.engine.inference.segmentation import segment
from SegHiResCAMLib.engine.models.untrusted.script import is_script, read_script

NETWORKS: dict[str, dict[str, Any]] = {
    "UNet": {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [2], "num_res_units": 2},
    "BasicUNet": {"spatial_dims": 2, "features": (4, 4, 4, 4, 4, 4)},
    "SegResNet": {"spatial_dims": 2, "init_filters": 8},
    "DynUNet": {
        "spatial_dims": 2, "in_channels": 1, "out_channels": 2, "kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2],
        "res_block": True,
    },
    "AttentionUnet": {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [2]},
    "VNet": {"spatial_dims": 2},
    "FlexibleUNet": {"in_channels": 1, "out_channels": 2, "backbone": "resnet10", "spatial_dims": 2},
    "UNETR": {"in_channels": 1, "out_channels": 2, "img_size": (32, 32), "feature_size": 8, "hidden_size": 24, "mlp_dim": 32, "num_heads": 4, "spatial_dims": 2},
}  # fmt: skip


def scripted(network: nn.Module) -> torch.jit.ScriptModule:
    return torch.jit.script(network.eval())


def traced(network: nn.Module) -> torch.jit.ScriptModule:
    dims = 3 if any(isinstance(module, nn.Conv3d) for module in network.modules()) else 2
    return torch.jit.trace(network.eval(), torch.zeros(1, 1, *[32] * dims), check_trace=False)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A tiny bundle with its network as `models/model.ts` beside `models/model.pt`."""
    folder = write_tiny_bundle(tmp_path / "bundle")
    network = nets.UNet(spatial_dims=3, **NETWORK)
    network.load_state_dict(torch.load(folder / "models/model.pt"))
    scripted(network).save(str(folder / "models/model.ts"))
    return folder


@pytest.mark.parametrize("make", [scripted, traced])
@pytest.mark.parametrize("name", NETWORKS)
def test_scripts_of_monais_networks_answer_as_the_networks(name: str, make: Any, tmp_path: Path) -> None:
    network = getattr(nets, name)(**NETWORKS[name]).eval()
    make(network).save(str(tmp_path / "model.ts"))
    image = torch.randn(1, 1, *[32] * NETWORKS[name].get("spatial_dims", 3))
    script = read_script(tmp_path / "model.ts")
    with torch.no_grad():
        assert close(script(image), network(image), dtype=torch.float32)
    assert not script.training
    assert not any(parameter.requires_grad for parameter in script.parameters())


def test_a_script_segments_as_the_bundle_it_lies_in(bundle: Path) -> None:
    volume = volume_from_array(noise(), torch.eye(4).numpy())
    expected = segment(open_model(bundle), volume, device="cpu").labels
    script = open_model(bundle / "models/model.ts")
    assert torch.equal(segment(script, volume, device="cpu").labels, expected)
    assert script.name == "Tiny network"


def test_a_bundle_that_has_nothing_but_a_script_segments(bundle: Path) -> None:
    (bundle / "models/model.pt").unlink()
    model = open_model(bundle)
    assert [label.name for label in model.labels] == ["kidney", "tumour"]
    assert segment(model, volume_from_array(noise(), torch.eye(4).numpy()), device="cpu").labels.any()


def test_a_bundle_prefers_weights_whose_layers_can_be_looked_into(bundle: Path) -> None:
    assert not open_model(bundle).layers_hidden


def test_a_script_named_like_weights_is_known_by_its_content(bundle: Path) -> None:
    (bundle / "models/model.ts").replace(bundle / "models/model.pt")
    assert open_model(bundle).layers_hidden


def test_a_description_that_was_exported_into_the_archive_is_used(bundle: Path, tmp_path: Path) -> None:
    """As `monai.bundle ckpt_export` does."""
    script = torch.jit.load(bundle / "models/model.ts")
    extra = {name: (bundle / "configs" / name).read_text() for name in ("inference.json", "metadata.json")}
    script.save(str(tmp_path / "alone.ts"), _extra_files=extra)
    model = open_model(tmp_path / "alone.ts")
    volume = volume_from_array(noise(), torch.eye(4).numpy())
    assert torch.equal(
        segment(model, volume, device="cpu").labels, segment(open_model(bundle), volume, device="cpu").labels
    )


def test_layers_and_maps_are_refused_and_the_right_file_named(bundle: Path) -> None:
    model = open_model(bundle / "models/model.ts")
    volume = volume_from_array(noise(), torch.eye(4).numpy())
    for call in (
        lambda: model_layers(model),
        lambda: explain(ExplainRequest.of(volume, model, segment="kidney", device="cpu")),
        lambda: explain(ExplainRequest.of(volume, model, segment="kidney", layer="script.model.0", device="cpu")),
    ):
        error = refusal(call)
        assert error.code == "layers-hidden"
        assert "hides its layers" in error.message
        assert "models/model.pt" in error.message


def test_a_script_without_a_description_is_refused_with_what_it_lacks(bundle: Path, tmp_path: Path) -> None:
    shutil.copy(bundle / "models/model.ts", tmp_path / "alone.ts")
    error = refusal(lambda: open_model(tmp_path / "alone.ts"))
    assert error.code == "script-undescribed"
    assert "configs" in error.message


# Hostile scripts


class SavesAFile(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, self.path)
        return x


class WritesThroughAMap(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.from_file(self.path, True, 4).fill_(1.0)


class HidesItDeep(nn.Module):
    """In a submodule, a loop, a branch and a function."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Identity(), SavesAFile(path))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for number in range(3):
            if number == 2 and x.shape[0] > 0:
                x = through(self.inner(x))
        return x


def through(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x)


class Forks(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.inner = SavesAFile(path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.jit.wait(torch.jit.fork(self.inner, x))


class RunsWhenLoaded(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]
        torch.save(torch.ones(1), self.path)


FORWARD = [SavesAFile, WritesThroughAMap, HidesItDeep, Forks]


@pytest.mark.parametrize("hostile", FORWARD)
def test_scripts_that_reach_beyond_tensors_are_refused_and_nothing_runs(hostile: Any, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    torch.jit.script(hostile(str(trap))).save(str(tmp_path / "model.ts"))
    error = refusal(lambda: read_script(tmp_path / "model.ts"))
    assert error.code == "script-code"
    assert "nothing was run" in error.message
    assert not trap.exists()
    torch.jit.load(tmp_path / "model.ts")(torch.ones(1))
    assert trap.exists(), "the sample is harmless and proves nothing"


def test_a_script_that_runs_while_it_is_loaded_is_refused_before_that(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    script = torch.jit.script(RunsWhenLoaded(str(trap)))
    script.save(str(tmp_path / "model.ts"))
    trap.unlink(missing_ok=True)
    assert refusal(lambda: read_script(tmp_path / "model.ts")).code == "script-code"
    assert not trap.exists()
    torch.jit.load(tmp_path / "model.ts")
    assert trap.exists(), "the sample is harmless and proves nothing"


def repacked(source: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    with zipfile.ZipFile(source) as honest, zipfile.ZipFile(target, "w") as forged:
        for entry in honest.infolist():
            content = change(entry.filename, honest.read(entry))
            if content is not None:
                forged.writestr(entry.filename, content)
    return target


def test_classes_of_other_libraries_are_refused(bundle: Path, tmp_path: Path) -> None:
    source = bundle / "models/model.ts"

    def change(name: str, content: bytes) -> bytes:
        return (
            content + b"\n# __torch__.torch.classes.quantized.Conv2dPackedParamsBase\n"
            if name.endswith(".py")
            else content
        )

    forged = repacked(source, tmp_path / "forged.ts", change)
    assert refusal(lambda: read_script(forged)).code == "script-code"


@pytest.mark.parametrize(
    "named",
    [
        b"c__torch__.torch.classes.quantized\nConv2dPackedParamsBase\n0",
        b"X\x21\x00\x00\x00__torch__.torch.classes.quantizedX\x16\x00\x00\x00Conv2dPackedParamsBase\x930",
        b"X\x0f\x00\x00\x00__torch__.torchX\x10\x00\x00\x00classes.whatever\x930",
    ],
)
def test_classes_of_other_libraries_are_refused_among_the_weights_too(
    named: bytes, bundle: Path, tmp_path: Path
) -> None:
    forged = repacked(
        bundle / "models/model.ts",
        tmp_path / "forged.ts",
        lambda name, content: content[:2] + named + content[2:] if name.endswith("/data.pkl") else content,
    )
    assert refusal(lambda: read_script(forged)).code == "script-code"


def test_a_second_file_of_the_same_name_cannot_be_slipped_in(tmp_path: Path) -> None:
    """PyTorch's reader and Python's take different ones of the two."""
    torch.jit.script(SavesAFile(str(tmp_path / "trap"))).save(str(tmp_path / "model.ts"))
    with zipfile.ZipFile(tmp_path / "model.ts", "a") as archive:
        name = next(name for name in archive.namelist() if "/code/" in name and name.endswith(".py"))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(name, "class Harmless(Module):\n  pass\n")
    assert refusal(lambda: read_script(tmp_path / "model.ts")).code.startswith("archive-")


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_truncated_scripts_are_refused(kept: float, bundle: Path) -> None:
    file = bundle / "models/model.ts"
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    assert not is_script(file)
    assert refusal(lambda: open_model(file)).code in ("archive-damaged", "weights-damaged", "model-unknown")


@pytest.mark.parametrize("name", ["data.pkl", "constants.pkl", "version", ".py"])
def test_damaged_scripts_are_refused(name: str, bundle: Path, tmp_path: Path) -> None:
    forged = repacked(
        bundle / "models/model.ts",
        tmp_path / "forged.ts",
        lambda entry, content: b"(((" if entry.endswith(name) else content,
    )
    assert refusal(lambda: read_script(forged)).code in ("script-damaged", "archive-damaged")


def test_weights_of_a_script_that_are_not_finite_are_named(bundle: Path) -> None:
    script = torch.jit.load(bundle / "models/model.ts")
    name = next(iter(script.state_dict()))
    with torch.no_grad():
        next(iter(script.parameters())).fill_(float("nan"))
    script.save(str(bundle / "models/model.ts"))
    error = refusal(lambda: read_script(bundle / "models/model.ts"))
    assert error.code == "script-not-finite"
    assert name in error.message


def test_a_script_that_cannot_treat_a_volume_says_so(bundle: Path) -> None:
    script = read_script(bundle / "models/model.ts")
    error = refusal(lambda: script(torch.zeros(1, 2, 16, 16, 16)))
    assert error.code == "script-failed"
    assert "2 channel(s) of 16 x 16 x 16" in error.message


@pytest.mark.real_data
def test_a_real_script_outlines_the_same_spleen_as_its_weights(test_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "spleen"
    shutil.copytree(Path(__file__).parents[1] / "data/spleen-unet3d", folder)
    (folder / "models").mkdir()
    shutil.copy(test_data / "spleen-unet3d/spleen_unet3d_torchscript.pt", folder / "models/model.ts")
    volume = read_volume(test_data / "abdomen-ct/example_ct_sm.nii.gz")
    found = segment(open_model(folder), volume, device="cpu").labels
    shutil.copy(test_data / "spleen-unet3d/spleen_unet3d_state_dict.pt", folder / "models/model.pt")
    expected = segment(open_model(folder), volume, device="cpu").labels
    assert expected.any()
    assert torch.equal(found, expected)


# Ways into a script beside its forward pass


class Plain(nn.Module):
    """Its forward pass is harmless."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x)


def saves_before(self: Any, input: Tuple[torch.Tensor]) -> Tuple[torch.Tensor]:  # noqa: UP006 - as TorchScript asks
    torch.save(input[0], self.path)
    return input


def maps_before(self: Any, input: Tuple[torch.Tensor]) -> Tuple[torch.Tensor]:  # noqa: UP006
    torch.from_file(self.path, True, 4).copy_(torch.ones(4))
    return input


def saves_after(self: Any, input: Tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:  # noqa: UP006
    torch.save(output, self.path)
    return output


def hooked(module: nn.Module, *, before: Any = None, after: Any = None) -> nn.Module:
    if before:
        module.register_forward_pre_hook(before)
    if after:
        module.register_forward_hook(after)
    return module


class SavesWhenAskedForItsLength(Plain):
    @torch.jit.export
    def __len__(self) -> int:
        torch.save(torch.ones(1), self.path)
        return 1


class SavesInAProperty(Plain):
    @property
    def size(self) -> int:
        torch.save(torch.ones(1), self.path)
        return 1


class Prints(Plain):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        print(self.path)
        return x


class CallsAnotherLibrary(Plain):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.ops.profiler._record_function_enter(self.path)
        return x


WAYS: dict[str, Callable[[str], nn.Module]] = {
    "a pre-hook that saves": lambda path: hooked(Plain(path), before=saves_before),
    "a pre-hook that maps a file": lambda path: hooked(Plain(path), before=maps_before),
    "a hook that saves": lambda path: hooked(Plain(path), after=saves_after),
    "a submodule's pre-hook": lambda path: nn.Sequential(hooked(Plain(path), before=saves_before)),
    "a submodule's hook": lambda path: nn.Sequential(hooked(Plain(path), after=saves_after)),
    "a method for len()": SavesWhenAskedForItsLength,
    "a property": SavesInAProperty,
    "printing": Prints,
    "another library": CallsAnotherLibrary,
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_into_a_script_does_more_than_compute(way: str, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    torch.jit.script(WAYS[way](str(trap))).save(str(tmp_path / "model.ts"))
    trap.unlink(missing_ok=True)  # scripting looks at properties
    error = refusal(lambda: read_script(tmp_path / "model.ts"))
    assert error.code == "script-code"
    assert not trap.exists()


def test_a_hook_of_a_script_runs_where_the_module_is_called(tmp_path: Path) -> None:
    """So the samples above are not harmless."""
    trap = tmp_path / "trap"
    torch.jit.script(hooked(Plain(str(trap)), before=saves_before)).save(str(tmp_path / "model.ts"))
    torch.jit.load(tmp_path / "model.ts")(torch.ones(1))
    assert trap.exists()


class Twice(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.inner(x))


def test_a_script_that_would_be_copied_into_itself_a_billion_times_is_refused(tmp_path: Path) -> None:
    network: nn.Module = nn.ReLU()
    for _ in range(30):
        network = Twice(network)
    torch.jit.script(network).save(str(tmp_path / "model.ts"))
    assert refusal(lambda: read_script(tmp_path / "model.ts")).code == "script-code"


DEEP = {
    "brackets": (".py", lambda code: code + b"\ndef f(x: int) -> int:\n  return " + b"(" * 100_000 + b"x" + b")" * 100_000 + b"\n"),
    "a sum": (".py", lambda code: code + b"\ndef f(x: int) -> int:\n  return " + b"x + " * 20_000 + b"x\n"),
    "signs": (".py", lambda code: code + b"\ndef f(x: int) -> int:\n  return " + b"-" * 100_000 + b"x\n"),
    "blocks": (".py", lambda code: code + b"\ndef f(x: int) -> int:\n" + b"".join(b" " * (n + 1) + b"if x > 0:\n" for n in range(400)) + b" " * 401 + b"return x\n"),
    "lists": ("data.pkl", lambda _: b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
    "tuples": ("data.pkl", lambda _: b"\x80\x02)" + b"\x85" * 100_000 + b"."),
    "a type's name": ("data.pkl", lambda _: b"\x80\x02ctorch.jit._pickle\nrestore_type_tag\n(]X\xa0\x86\x01\x00" + b"List[" * 20_000 + b"tR."),
}  # fmt: skip


@pytest.mark.parametrize("what", DEEP)
def test_what_would_overflow_the_stack_of_pytorchs_parsers_is_refused(what: str, bundle: Path, tmp_path: Path) -> None:
    end, change = DEEP[what]
    forged = repacked(
        bundle / "models/model.ts",
        tmp_path / "forged.ts",
        lambda name, content: change(content) if name.endswith(end) else content,
    )
    assert refusal(lambda: read_script(forged)).code == "script-damaged"


def test_a_scripts_storage_that_claims_more_than_it_has_is_refused(bundle: Path, tmp_path: Path) -> None:
    forged = repacked(
        bundle / "models/model.ts",
        tmp_path / "forged.ts",
        lambda name, content: content[:-4] if name.endswith("data/0") else content,
    )
    assert refusal(lambda: read_script(forged)).code == "script-damaged"


def test_a_scripts_own_warnings_reach_no_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    torch.jit.script(Warns()).save(str(tmp_path / "model.ts"))
    assert torch.equal(read_script(tmp_path / "model.ts")(torch.ones(1)), torch.ones(1))
    assert "written" not in "".join(capfd.readouterr())


class Warns(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        warnings.warn("written by a stranger \x1b[31m", stacklevel=2)
        return x
