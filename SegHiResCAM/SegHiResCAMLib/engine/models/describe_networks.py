"""What the names and shapes of weights say of the network they belong to: one function a network gives its arguments, or guesses in turn.

Guesses are proven by building the network; what shapes cannot show (`UNSEEN`) keeps the class's usual value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

Shapes = dict[str, tuple[int, ...]]
"""Names of a state dict to the shapes of its tensors."""

Arguments = dict[str, Any]

MAX_POSITIONS = 1_000_000
"""No transformer looks at more patches; a tensor without elements could claim any number."""

_STRIDES = "weights do not show how far a convolution steps; 2 is usual"
_ACTIVATION = "an activation without weights leaves no trace"
_NORM = "instance, group and layer normalisation look alike in weights"
_HEADS = "weights do not show how many attention heads there are"


def unet(shapes: Shapes) -> Iterator[Arguments]:
    """MONAI's UNet: down blocks at model.0, model.1.submodule.0, ...; the bottom where no further `.0` follows."""
    unit = ".conv.unit0" if "model.0.conv.unit0.conv.weight" in shapes else ""
    down = list(_while_there(shapes, lambda level: f"model.{'1.submodule.' * level}0{unit}.conv.weight"))
    bottom = shapes.get(f"model.{'1.submodule.' * len(down)}"[:-1] + f"{unit}.conv.weight")
    up = shapes.get("model.2.conv.weight") or shapes.get("model.2.0.conv.weight")
    if not (down and bottom and up):
        return
    kernel = down[0][2:]
    strides = []
    for level in range(len(down)):
        residual = shapes.get(f"model.{'1.submodule.' * level}0.residual.weight")
        unmoved = bool(unit) and (residual is None or residual[2:] != kernel)
        strides.append(1 if unmoved and math.prod(kernel) > 1 else 2)
    yield {
        "spatial_dims": len(kernel),
        "in_channels": down[0][1],
        "out_channels": up[1],
        "channels": [shape[0] for shape in (*down, bottom)],
        "strides": strides,
        "kernel_size": _alike(kernel),
        "up_kernel_size": _alike(up[2:]),
        "num_res_units": _count(shapes, lambda number: f"model.0.conv.unit{number}.conv.weight") if unit else 0,
        "act": "PRELU" if _ending(shapes, ".adn.A.weight") else "RELU",
        "norm": _norm(shapes, ".adn.N.") or "instance",
        "bias": f"model.0{unit}.conv.bias" in shapes,
    }


def attention_unet(shapes: Shapes) -> Iterator[Arguments]:
    """MONAI's AttentionUnet: as its UNet, with an attention gate in every skip connection."""
    down = list(_while_there(shapes, lambda level: f"model.{'1.submodule.' * level}0.conv.0.conv.weight"))
    bottom = shapes.get(f"model.{'1.submodule.' * len(down)}"[:-1] + ".conv.0.conv.weight")
    up, last = shapes.get("model.1.upconv.up.conv.weight"), shapes.get("model.2.conv.weight")
    if not (down and bottom and up and last):
        return
    yield {
        "spatial_dims": len(down[0]) - 2,
        "in_channels": down[0][1],
        "out_channels": last[0],
        "channels": [shape[0] for shape in (*down, bottom)],
        "strides": [2] * len(down),
        "kernel_size": _alike(down[0][2:]),
        "up_kernel_size": _alike(up[2:]),
    }


def basic_unet(shapes: Shapes) -> Iterator[Arguments]:
    """MONAI's BasicUNet: four levels under one."""
    names = ["conv_0.conv_0.conv.weight", *(f"down_{level}.convs.conv_0.conv.weight" for level in range(1, 5))]
    names += ["upcat_1.convs.conv_0.conv.weight", "final_conv.weight"]
    if any(name not in shapes for name in names):
        return
    first = shapes[names[0]]
    for upsample in ("deconv", "nontrainable", "pixelshuffle"):
        yield {
            "spatial_dims": len(first) - 2,
            "in_channels": first[1],
            "out_channels": shapes["final_conv.weight"][0],
            "features": [shapes[name][0] for name in names[:-1]],
            "act": "PRELU"
            if _ending(shapes, ".adn.A.weight")
            else ["LeakyReLU", {"negative_slope": 0.1, "inplace": True}],
            "norm": _norm(shapes, ".adn.N.") or "instance",
            "bias": "conv_0.conv_0.conv.bias" in shapes,
            "upsample": upsample,
        }


def dyn_unet(shapes: Shapes) -> Iterator[Arguments]:
    """MONAI's DynUNet: upsamplings are listed from the deepest, and their kernels are usually their strides."""
    down = list(_while_there(shapes, lambda level: f"downsamples.{level}.conv1.conv.weight"))
    up = list(_while_there(shapes, lambda level: f"upsamples.{level}.transp_conv.conv.weight"))[::-1]
    first, bottom = shapes.get("input_block.conv1.conv.weight"), shapes.get("bottleneck.conv1.conv.weight")
    last = shapes.get("output_block.conv.conv.weight")
    if not (first and bottom and last and len(up) == len(down) + 1):
        return
    levels = [first, *down, bottom]
    heads = _count(shapes, lambda number: f"deep_supervision_heads.{number}.conv.conv.weight")
    yield {
        "spatial_dims": len(first) - 2,
        "in_channels": first[1],
        "out_channels": last[0],
        "kernel_size": [list(shape[2:]) for shape in levels],
        "strides": [[1] * (len(first) - 2), *(list(shape[2:]) for shape in up)],
        "upsample_kernel_size": [list(shape[2:]) for shape in up],
        "filters": [shape[0] for shape in levels],
        "norm_name": _norm(shapes, ".norm1.") or "instance",
        "deep_supervision": heads > 0,
        "deep_supr_num": max(heads, 1),
        "res_block": _ending(shapes, ".conv3.conv.weight"),
        "trans_bias": "upsamples.0.transp_conv.conv.bias" in shapes,
    }


def seg_res_net(shapes: Shapes) -> Iterator[Arguments]:
    """MONAI's SegResNet: each level's first item leads down, the others are residual blocks."""
    first = shapes.get("convInit.conv.weight")
    blocks_down = _counts(shapes, lambda level, block: f"down_layers.{level}.{block + 1}.conv1.conv.weight")
    blocks_up = _counts(shapes, lambda level, block: f"up_layers.{level}.{block}.conv1.conv.weight")
    last = shapes.get("conv_final.2.conv.weight")
    if not (first and last and blocks_down and blocks_up):
        return
    for upsample in ("nontrainable", "deconv", "pixelshuffle"):
        yield {
            "spatial_dims": len(first) - 2,
            "init_filters": first[0],
            "in_channels": first[1],
            "out_channels": last[0],
            "norm": "batch"
            if _ending(shapes, "norm1.running_mean")
            else ["GROUP", {"num_groups": math.gcd(8, first[0])}],
            "blocks_down": blocks_down,
            "blocks_up": blocks_up,
            "upsample_mode": upsample,
        }


def seg_res_net_ds(shapes: Shapes) -> Iterator[Arguments]:
    """MONAI's SegResNetDS: heads at the last `dsdepth` levels."""
    first = shapes.get("encoder.conv_init.weight")
    blocks_down = _counts(shapes, lambda level, block: f"encoder.layers.{level}.blocks.{block}.conv1.weight")
    blocks_up = _counts(shapes, lambda level, block: f"up_layers.{level}.blocks.{block}.conv1.weight")
    heads = [name for name in shapes if name.startswith("up_layers.") and name.endswith(".head.weight")]
    if not (first and blocks_down and blocks_up and heads):
        return
    norms = ["batch"] if _ending(shapes, "norm1.running_mean") else [["instance", {"affine": True}], "instance"]
    for norm in norms:
        for upsample in ("deconv", "nontrainable", "pixelshuffle"):
            yield {
                "spatial_dims": len(first) - 2,
                "init_filters": first[0],
                "in_channels": first[1],
                "out_channels": shapes[heads[-1]][0],
                "norm": norm,
                "blocks_down": blocks_down,
                "blocks_up": blocks_up,
                "dsdepth": len(heads),
                "upsample_mode": upsample,
            }


def vnet(shapes: Shapes) -> Iterator[Arguments]:
    """MONAI's VNet, whose widths are fixed."""
    first, last = shapes.get("in_tr.conv_block.conv.weight"), shapes.get("out_tr.conv2.weight")
    if not (first and last):
        return
    for act in (["elu", {"inplace": True}], "prelu"):
        yield {
            "spatial_dims": len(first) - 2,
            "in_channels": first[1],
            "out_channels": last[0],
            "act": act,
            "bias": "in_tr.conv_block.conv.bias" in shapes,
        }


def unetr(shapes: Shapes) -> Iterator[Arguments]:
    """MONAI's UNETR: the number of patches is known, not how they lie."""
    patches, positions = "vit.patch_embedding.patch_embeddings", "vit.patch_embedding.position_embeddings"
    first, mlp = shapes.get("encoder1.layer.conv1.conv.weight"), shapes.get("vit.blocks.0.mlp.linear1.weight")
    last, place = shapes.get("out.conv.conv.weight"), shapes.get(positions)
    if not (first and last and place and mlp and len(place) == 3):
        return
    dims, hidden = len(first) - 2, place[2]
    for sides in _boxes(place[1], dims):
        yield {
            "in_channels": first[1],
            "out_channels": last[0],
            "img_size": [16 * side for side in sides],
            "feature_size": first[0],
            "hidden_size": hidden,
            "mlp_dim": mlp[0],
            "num_heads": next(heads for heads in (max(hidden // 64, 1), 1) if hidden % heads == 0),
            "proj_type": "conv" if f"{patches}.weight" in shapes else "perceptron",
            "norm_name": _norm(shapes, ".norm1.", but="vit.") or "instance",
            "conv_block": "encoder2.blocks.0.1.conv1.conv.weight" in shapes,
            "res_block": _ending(shapes, "conv3.conv.weight"),
            "spatial_dims": dims,
            "qkv_bias": "vit.blocks.0.attn.qkv.bias" in shapes,
        }


def swin_unetr(shapes: Shapes) -> Iterator[Arguments]:
    """MONAI's SwinUNETR: heads and windows show in the tables of relative positions."""
    first, last = shapes.get("swinViT.patch_embed.proj.weight"), shapes.get("out.conv.conv.weight")
    depths = [
        _count(shapes, lambda block, stage=stage: f"swinViT.layers{stage}.0.blocks.{block}.attn.qkv.weight")  # type: ignore[misc]
        for stage in range(1, 5)
    ]
    tables = [
        shapes.get(f"swinViT.layers{stage}.0.blocks.0.attn.relative_position_bias_table") for stage in range(1, 5)
    ]
    mlp = shapes.get("swinViT.layers1.0.blocks.0.mlp.linear1.weight")
    if not (first and last and mlp and all(tables)):
        return
    dims = len(first) - 2
    yield {
        "in_channels": first[1],
        "out_channels": last[0],
        "patch_size": first[2],
        "depths": depths,
        "num_heads": [table[1] for table in tables if table],
        "window_size": (round((tables[0] or (1,))[0] ** (1 / dims)) + 1) // 2,
        "qkv_bias": "swinViT.layers1.0.blocks.0.attn.qkv.bias" in shapes,
        "mlp_ratio": mlp[0] / first[0],
        "feature_size": first[0],
        "norm_name": _norm(shapes, ".norm1.", but="swinViT.") or "instance",
        "patch_norm": "swinViT.patch_embed.norm.weight" in shapes,
        "spatial_dims": dims,
        "use_v2": _starting(shapes, "swinViT.layers1c."),
    }


def vanilla_unet_2d(shapes: Shapes) -> Iterator[Arguments]:
    """The U-Net released with Seg-HiRes-Grad CAM."""
    down = list(_while_there(shapes, lambda level: f"encoder.{level}.conv_block_without_pool.0.weight"))
    up, last = shapes.get("upconv.weight"), shapes.get("final_layer.2.conv_block.0.weight")
    levels = list(_while_there(shapes, lambda level: f"decoder.{level}.upconv_block_with_transpose.6.weight"))
    if down and up and last:
        yield {
            "encoder_channels": [down[0][1], *(shape[0] for shape in down)],
            "decoder_channels": [up[0], up[1], *(shape[1] for shape in levels), last[0]],
        }


RECOGNISERS: dict[str, Callable[[Shapes], Iterator[Arguments]]] = {
    "UNet": unet,
    "AttentionUnet": attention_unet,
    "BasicUNet": basic_unet,
    "DynUNet": dyn_unet,
    "SegResNet": seg_res_net,
    "SegResNetDS": seg_res_net_ds,
    "VNet": vnet,
    "UNETR": unetr,
    "SwinUNETR": swin_unetr,
    "Vanilla_UNet_2d": vanilla_unet_2d,
}

# Arguments that weights do not show, and why. What holds of one checkpoint only is told by `unseen`.
UNSEEN: dict[str, dict[str, str]] = {
    "UNet": {"strides": _STRIDES},
    "AttentionUnet": {"strides": _STRIDES},
    "BasicUNet": {},
    "DynUNet": {
        "strides": "weights do not show how far a convolution steps; the kernels on the way up are usual",
        "act_name": _ACTIVATION,
    },
    "SegResNet": {"act": _ACTIVATION, "use_conv_final": "the last convolution has weights even where it is not used"},
    "SegResNetDS": {"act": _ACTIVATION},
    "VNet": {},
    "UNETR": {"img_size": "the number of patches is known, but not how many lie along each axis", "num_heads": _HEADS},
    "SwinUNETR": {"downsample": "'merging' and 'mergingv2' look alike in weights"},
    "Vanilla_UNet_2d": {},
}


def unseen(name: str, arguments: Arguments) -> dict[str, str]:
    """Arguments of a recognised network whose values are guesses, and why."""
    found = dict(UNSEEN[name])
    act, norm = arguments.get("act"), arguments.get("norm", arguments.get("norm_name"))
    if act is not None and str(act).casefold() != "prelu":
        found["act"] = _ACTIVATION
    if norm is not None and norm != "batch":
        found["norm" if "norm" in arguments else "norm_name"] = _NORM
    return found


def _while_there(shapes: Shapes, name: Callable[[int], str]) -> Iterator[tuple[int, ...]]:
    """Shapes of name(0), name(1), ... until one is missing."""
    number = 0
    while name(number) in shapes:
        yield shapes[name(number)]
        number += 1


def _count(shapes: Shapes, name: Callable[[int], str]) -> int:
    return sum(1 for _ in _while_there(shapes, name))


def _counts(shapes: Shapes, name: Callable[[int, int], str]) -> list[int]:
    """How many blocks each level has, until one has none."""
    found: list[int] = []
    while blocks := _count(shapes, lambda block: name(len(found), block)):
        found.append(blocks)
    return found


def _norm(shapes: Shapes, part: str, but: str = "-") -> Any:
    """The normalisation whose weights have `part` in their names: batch with statistics, an affine one with weights, None with neither."""
    names = [name for name in shapes if part in name and not name.startswith(but)]
    if any(name.endswith("running_mean") for name in names):
        return "batch"
    return ["instance", {"affine": True}] if names else None


def _ending(shapes: Shapes, end: str) -> bool:
    return any(name.endswith(end) for name in shapes)


def _starting(shapes: Shapes, start: str) -> bool:
    return any(name.startswith(start) for name in shapes)


def _alike(sizes: tuple[int, ...]) -> int | list[int]:
    return sizes[0] if len(set(sizes)) == 1 else list(sizes)


def _boxes(positions: int, dims: int) -> Iterator[tuple[int, ...]]:
    """Ways to lay positions out in a box, the most cubic one first and alone: the others look alike."""
    if not 0 < positions <= MAX_POSITIONS:
        return
    side = round(positions ** (1 / dims))
    if side**dims == positions:
        yield (side,) * dims
        return
    near = min((one for one in range(1, positions + 1) if positions % one == 0), key=lambda one: abs(one - side))
    for rest in _boxes(positions // near, dims - 1) if dims > 1 else ():
        yield (near, *rest)
        return
