"""The list of layers and the suggested one."""

from __future__ import annotations

import functools

import pytest
import torch
from monai.networks import nets
from peers import captum_raw
from rounding import close, condition_of

from SegHiResCAMLib.engine.cam import activation_map
from SegHiResCAMLib.engine.cam.layers import layer_named, list_layers, suggest_layer
from SegHiResCAMLib.engine.cam.methods import METHODS
from SegHiResCAMLib.engine.errors import EngineError

# Network, window, and the block a person would choose: the coarsest grid with 8 positions or more, computed last.
SUGGESTED = [
    (
        nets.UNet(3, 1, 4, (4, 8, 16, 32), (2, 2, 2), num_res_units=2),
        (48,) * 3,
        "model.1.submodule.1.submodule.2",
        (12,) * 3,
    ),
    (nets.UNet(2, 1, 4, (4, 8, 16), (2, 2)), (64, 48), "model.1.submodule.1.submodule", (16, 12)),
    (nets.BasicUNet(2, 1, 1), (512, 512), "down_4", (32, 32)),
    (nets.BasicUNet(3, 1, 4), (96,) * 3, "upcat_4", (12,) * 3),
    (nets.DynUNet(3, 1, 4, [3] * 4, [1, 2, 2, 2], [2] * 3), (64,) * 3, "bottleneck", (8,) * 3),
    (nets.SegResNet(3, in_channels=1, out_channels=4), (96,) * 3, "down_layers.3", (12,) * 3),
    (nets.AttentionUnet(3, 1, 4, (4, 8, 16), (2, 2)), (32,) * 3, "model.1.submodule.1.submodule", (8,) * 3),
    (
        nets.UNETR(1, 4, (96,) * 3, num_heads=2, hidden_size=32, mlp_dim=32, feature_size=4),
        (96,) * 3,
        "decoder5",
        (12,) * 3,
    ),
    (nets.SwinUNETR(1, 4, feature_size=12), (96,) * 3, "decoder4", (12,) * 3),
]


@pytest.mark.parametrize(("network", "window", "name", "grid"), SUGGESTED, ids=lambda value: type(value).__name__)
def test_the_suggested_layer_is_the_deepest_block_that_can_still_be_read(network, window, name, grid) -> None:
    layer, reason = suggest_layer(list_layers(network.eval(), 1, window))
    assert (layer.name, layer.grid) == (name, grid)
    assert "8 locations" in reason


UNETR_2D = {"spatial_dims": 2, "feature_size": 4, "hidden_size": 16, "mlp_dim": 16, "num_heads": 2}
SWIN_UNETR_2D = {"spatial_dims": 2, "feature_size": 12, "num_heads": (1,) * 4, "depths": (2, 1, 1, 1)}


def dyn_unet(**options) -> nets.DynUNet:
    return nets.DynUNet(2, 1, 2, [3] * 3, [1, 2, 2], [2] * 2, filters=[4, 4, 8], **options)


EVERY_NETWORK = {
    "UNet": (lambda: nets.UNet(2, 1, 2, (4, 8, 16), (2, 2), num_res_units=2, dropout=0.1), 16),
    "BasicUNet": (lambda: nets.BasicUNet(2, 1, 2, features=(4, 4, 4, 8, 8, 4)), 32),
    "AttentionUnet": (lambda: nets.AttentionUnet(2, 1, 2, (4, 8, 16), (2, 2)), 16),
    "DynUNet": (dyn_unet, 16),
    "DynUNet, deeply supervised": (lambda: dyn_unet(deep_supervision=True, deep_supr_num=1, res_block=True), 16),
    "SegResNet": (lambda: nets.SegResNet(2, 8, 1, 2, blocks_down=(1, 1), blocks_up=(1,)), 16),
    "SegResNetDS": (lambda: nets.SegResNetDS(2, 8, 1, 2, blocks_down=(1, 1, 1), dsdepth=2), 16),
    "VNet": (lambda: nets.VNet(2, 1, 2), 16),
    "UNETR": (lambda: nets.UNETR(1, 2, (32, 32), **UNETR_2D), 32),
    "SwinUNETR": (lambda: nets.SwinUNETR(1, 2, **SWIN_UNETR_2D), (64, 32)),
}


def in_one_backward(network, image: torch.Tensor, segment: torch.Tensor) -> dict[str, torch.Tensor]:
    """G A, channel by channel (K, *grid), of everything that every call of every module returns, from one graph of the whole network."""
    kept: dict[str, list[dict[str, torch.Tensor]]] = {}

    def keep(_module, _inputs, output, name: str):
        several = isinstance(output, list | tuple)
        # A copy is kept: what a module returns may be used inside it too. A copy of that is handed on, for what works in place.
        copies = [one.clone() if isinstance(one, torch.Tensor) else one for one in (output if several else [output])]
        named = {f"[{number}]" if several else "": one for number, one in enumerate(copies)}
        kept.setdefault(name, []).append({key: one for key, one in named.items() if isinstance(one, torch.Tensor)})
        handed = [one.clone() if isinstance(one, torch.Tensor) else one for one in copies]
        return type(output)(handed) if several else handed[0]

    handles = [
        module.register_forward_hook(lambda m, i, o, n=name: keep(m, i, o, n))
        for name, module in network.named_modules()
        if name
    ]
    output = network(image.clone().requires_grad_())
    for handle in handles:
        handle.remove()
    output = output if isinstance(output, torch.Tensor) else output[0]
    output = output[:, 0] if output.ndim > image.ndim else output
    tensors = {
        (f"{name}@{number}" if len(calls) > 1 else name) + element: tensor
        for name, calls in kept.items()
        for number, call in enumerate(calls, start=1)
        for element, tensor in call.items()
        if tensor.requires_grad
    }
    gradients = torch.autograd.grad((output[0, 1] * segment).sum(), list(tensors.values()), allow_unused=True)
    return {
        name: (tensor * gradient)[0].detach()
        for (name, tensor), gradient in zip(tensors.items(), gradients, strict=True)
        if gradient is not None
    }


@pytest.mark.parametrize("name", EVERY_NETWORK)
def test_every_listed_layer_is_right_and_every_other_one_is_refused(name: str) -> None:
    """In double precision against one backward pass through the whole network, and against captum for a sample."""
    torch.manual_seed(1)
    build, size = EVERY_NETWORK[name]
    window = size if isinstance(size, tuple) else (size, size)
    network = build().double().eval().requires_grad_(False)
    image = torch.randn(1, 1, *window, dtype=torch.float64)
    segment = (network(image)[0].argmax(0) == 1).double()
    expected = in_one_backward(network, image, segment)

    @functools.cache
    def condition() -> float:
        def every_map() -> torch.Tensor:
            maps = in_one_backward(network, image, segment)
            sizes = {name: products.abs().sum(0).max() for name, products in expected.items()}
            return torch.cat([(maps[name].sum(0) / size).flatten() for name, size in sizes.items() if size])

        return condition_of(every_map, network)

    layers = list_layers(network, 1, window)
    # How attention is arranged is held by `test_attention.py`.
    usable = [layer for layer in layers if not layer.reason and not layer.is_attention]
    assert len(usable) > 20
    for layer in usable:
        found = activation_map(network, image, segment, 1, layer.name)
        assert found.shape == layer.grid
        products = expected[layer.name]
        assert close(found, products.sum(0), condition, size=products.abs().sum(0)), layer
    for layer in layers:
        if layer.reason.startswith(("takes no part", "has no influence", "returns a ")):
            with pytest.raises(EngineError):
                activation_map(network, image, segment, 1, layer.name)
    for layer in [one for one in usable if not set("@[") & set(one.name)][::15]:
        peer = captum_raw("hires", network, image, segment, 1, layer.name)
        products = expected[layer.name]
        assert close(peer, products.sum(0), condition, size=products.abs().sum(0)), layer


def test_a_deeply_supervised_network_in_training_mode_is_explained_by_its_main_output() -> None:
    torch.manual_seed(1)
    network = dyn_unet(deep_supervision=True, deep_supr_num=1).double().train().requires_grad_(False)
    image, segment = torch.randn(1, 1, 16, 16, dtype=torch.float64), torch.ones(16, 16)
    assert network(image).ndim == 5
    expected = in_one_backward(network, image, segment)["bottleneck"].sum(0)
    assert close(activation_map(network, image, segment, 1, "bottleneck"), expected)


def test_a_module_that_is_called_twice_is_explained_call_by_call_the_last_one_where_none_is_named() -> None:
    torch.manual_seed(1)
    network, image = dyn_unet().double().eval(), torch.randn(1, 1, 16, 16, dtype=torch.float64)
    layers = list_layers(network, 1, (16, 16))
    assert [layer.name for layer in layers if layer.name.startswith("bottleneck.lrelu")] == [
        "bottleneck.lrelu@1",
        "bottleneck.lrelu@2",
    ]
    assert layer_named(layers, "bottleneck.lrelu").name == "bottleneck.lrelu@2"
    first, second, last = (
        activation_map(network, image, torch.ones(16, 16), 1, f"bottleneck.lrelu{call}") for call in ("@1", "@2", "")
    )
    assert torch.equal(last, second)
    assert not torch.allclose(first, second)
    torch.testing.assert_close(second, captum_raw("hires", network, image, torch.ones(16, 16), 1, "bottleneck.lrelu"))


@pytest.mark.parametrize("method", [name for name, one in METHODS.items() if not one.of_attention])
def test_every_method_explains_the_call_that_is_named_in_all_its_walks(method: str) -> None:
    """The same network written with a module for each call."""
    torch.manual_seed(1)

    class Written(torch.nn.Module):
        def __init__(self, apart: bool) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.Conv2d(3, 3, 3, padding=1)
            self.head = torch.nn.Conv2d(3, 2, 1)
            self.act = torch.nn.Softplus()
            self.other = torch.nn.Softplus() if apart else self.act

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.head(self.other(self.second(self.act(self.first(image)))))

    shared, apart = Written(False).double().eval(), Written(True).double().eval()
    apart.load_state_dict(shared.state_dict())
    image, segment = torch.randn(1, 1, 12, 12, dtype=torch.float64), torch.rand(12, 12, dtype=torch.float64)
    for call, module in (("act@1", "act"), ("act@2", "other"), ("act", "other")):
        if method == "seg-cam" and call == "act@1":
            continue  # more than a 1x1 convolution follows
        expected = activation_map(apart, image, segment, 1, module, method)
        found = activation_map(shared, image, segment, 1, call, method)
        assert close(
            found,
            expected,
            functools.partial(
                condition_of, functools.partial(activation_map, apart, image, segment, 1, module, method), apart
            ),
        )


@pytest.mark.parametrize("name", ["bottleneck.lrelu@3", "bottleneck.lrelu@0", "bottleneck[1]", "bottleneck@@1"])
def test_a_call_or_tensor_that_is_not_there_is_refused_with_a_message(name: str) -> None:
    with pytest.raises(EngineError) as raised:
        activation_map(dyn_unet().eval(), torch.zeros(1, 1, 16, 16), torch.ones(16, 16), 1, name)
    assert name in raised.value.message


@pytest.mark.parametrize(
    ("name", "code"),
    [("bottleneck.lrelu", ""), ("bottleneck.lrel", "layer-unknown"), ("deep_supervision_heads.0", "layer-unusable")],
)
def test_a_layer_is_found_by_name_or_refused(name: str, code: str) -> None:
    layers = list_layers(dyn_unet(deep_supervision=True, deep_supr_num=1).eval(), 1, (16, 16))
    if not code:
        assert layer_named(layers, name).channels == 8
        return
    with pytest.raises(EngineError) as raised:
        layer_named(layers, name)
    assert raised.value.code == code


def seen_by(network, layer: str, size: int) -> tuple[int, int]:
    """The extent of the inputs that one position in the middle of a layer depends on, by its gradient."""
    kept = []
    handle = network.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    image = torch.zeros(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    network(image)
    handle.remove()
    widest = (0, 0)
    for row in range(4):  # with a transposed convolution, neighbours see different extents
        middle = kept[-1].shape[2] // 2 + row
        (gradient,) = torch.autograd.grad(kept[-1][0, :, middle, middle].sum(), image, retain_graph=True)
        rows, columns = gradient[0, 0].nonzero().unbind(1)
        widest = max(widest, (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1))
    return widest


@pytest.mark.parametrize(
    ("build", "layers"),
    [
        (
            lambda: nets.UNet(2, 1, 2, (2, 2, 2), (2, 2), num_res_units=2, norm=None),
            ["model.0", "model.1.submodule.1", "model.2"],
        ),
        (
            lambda: nets.VNet(2, 1, 2, act="relu", dropout_prob_down=0, dropout_prob_up=(0, 0)),
            ["in_tr", "down_tr32", "down_tr64.ops"],
        ),
        (
            lambda: nets.SegResNet(2, 8, 1, 2, norm="batch", blocks_down=(1, 1), blocks_up=(1,)),
            ["down_layers.1", "up_samples.0", "up_layers.0"],
        ),
    ],
    ids=["UNet", "VNet", "SegResNet"],
)
def test_the_receptive_field_is_what_a_position_depends_on(build, layers: list[str]) -> None:
    torch.manual_seed(0)
    network = build().double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.rand_like(parameter))  # nothing cancels, nothing is switched off
    listed = {layer.name: layer for layer in list_layers(network, 1, (160, 160), (0.5, 2.0))}
    for name in layers:
        sees = listed[name].receptive_field
        assert sees == seen_by(network, name, 160), name
        assert listed[name].receptive_field_mm == (0.5 * sees[0], 2.0 * sees[1])


def test_behind_attention_the_receptive_field_is_left_open() -> None:
    network = nets.UNETR(1, 2, (32, 32), **UNETR_2D).eval()
    layers = {layer.name: layer for layer in list_layers(network, 1, (32, 32))}
    assert layers["encoder1"].receptive_field == (5, 5)
    assert layers["decoder5"].receptive_field == ()


@pytest.mark.parametrize("name", ["UNet", "BasicUNet", "SegResNet", "DynUNet"])
def test_layers_marked_as_feeding_a_normalisation_have_mean_gradients_of_zero(name: str) -> None:
    torch.manual_seed(1)
    build, size = EVERY_NETWORK[name]
    network, image = build().double().eval(), torch.randn(1, 1, size, size, dtype=torch.float64)
    layers = [layer for layer in list_layers(network, 1, (size, size)) if not layer.reason]
    marked = [layer for layer in layers if layer.feeds_normalisation]
    assert marked
    for layer in marked:
        hires = activation_map(network, image, torch.ones(size, size), 1, layer.name, "seg-hires-grad-cam")
        grad = activation_map(network, image, torch.ones(size, size), 1, layer.name, "seg-grad-cam")
        assert grad.abs().max() <= 1e-8 * hires.abs().max(), layer.name
    assert all(layer.name.rsplit(".", 1)[-1] not in ("N", "norm1", "norm2") for layer in marked)


def test_with_a_trivial_tail_the_map_is_nothing_outside_the_pixel_set_and_else_it_is_something() -> None:
    torch.manual_seed(1)
    segment = torch.zeros(32, 32)
    segment[8:20, 8:20] = 1
    network, image = EVERY_NETWORK["BasicUNet"][0]().double().eval(), torch.randn(1, 1, 32, 32, dtype=torch.float64)
    layers = [layer for layer in list_layers(network, 1, (32, 32)) if not layer.reason]
    trivial = {layer.name for layer in layers if layer.tail_is_trivial}
    assert {"upcat_1", "upcat_1.convs.conv_1.adn.A", "final_conv"} <= trivial
    for layer in layers:
        outside = activation_map(network, image, segment, 1, layer.name)
        if layer.grid == (32, 32):
            assert (outside[segment == 0] == 0).all().item() == (layer.name in trivial), layer.name
        else:
            assert layer.name not in trivial


def test_a_layer_is_coarser_than_what_is_smaller_than_one_of_its_positions() -> None:
    layers = {
        layer.name: layer for layer in list_layers(nets.UNet(3, 1, 2, (4, 8, 16), (2, 2)), 1, (16,) * 3, (1, 1, 5))
    }
    assert layers["model.0"].mm == (2, 2, 10)
    assert layers["model.0"].is_coarser_than(9)
    assert not layers["model.0"].is_coarser_than(10)


def test_millimetres_are_the_spacing_times_the_stride() -> None:
    network = nets.UNet(3, 1, 2, (4, 8, 16), (2, 2))
    layers = {layer.name: layer for layer in list_layers(network, 1, (32, 32, 16), (0.5, 0.5, 3.0))}
    assert layers["model.1.submodule.0"].mm == (2.0, 2.0, 12.0)
    assert layers["model.0"].channels == 4


def test_modules_shared_under_several_names_keep_their_parameters() -> None:
    network = nets.DynUNet(2, 1, 2, [3] * 3, [1, 2, 2], [2] * 2, filters=[4, 4, 8])
    before = [id(parameter) for parameter in network.parameters()]
    list_layers(network, 1, (16, 16))
    assert [id(parameter) for parameter in network.parameters()] == before


def test_listing_runs_nothing_and_leaves_nothing_behind() -> None:
    network = nets.BasicUNet(3, 1, 2).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    list_layers(network, 1, (256, 256, 256))  # 50 GB of activations if it were computed
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_window_the_network_cannot_take_is_refused_with_a_message() -> None:
    with pytest.raises(EngineError) as raised:
        list_layers(nets.UNet(2, 1, 2, (4, 8, 16), (2, 2)), 1, (31, 17))
    assert raised.value.code == "window-unfit"
    assert "31 x 17" in raised.value.message
