"""The table of methods: to add one, write its function and add a line here. The command, the worker and the panel list what stands here."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args, get_origin, get_type_hints

from SegHiResCAMLib.engine.cam.methods.eigen import seg_eigen_cam, seg_eigen_cam_2025, seg_eigengrad_cam
from SegHiResCAMLib.engine.cam.methods.forward import seg_ablation_cam, seg_cam, seg_fem, seg_score_cam
from SegHiResCAMLib.engine.cam.methods.gradient import (
    seg_elementwise_cam,
    seg_grad_cam,
    seg_grad_cam_pp,
    seg_grad_cam_pp_local,
    seg_hires_grad_cam,
    seg_layer_cam,
    seg_legrad,
    seg_shapley_cam,
    seg_xgrad_cam,
    seg_xres_cam,
)
from SegHiResCAMLib.engine.cam.methods.integrated import seg_integrated_hires_cam
from SegHiResCAMLib.engine.cam.methods.kernel import seg_kpca_cam
from SegHiResCAMLib.engine.cam.methods.steps import AnySteps
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.records.explanation import ARBITRARY_UNITS, LOGIT_UNITS
from SegHiResCAMLib.records.models import MethodOption, MethodSummary


@dataclass(frozen=True)
class Method:
    """A CAM method.

    Attributes:
        title: As the field writes it.
        summary: What it computes, in one line.
        source: The paper or program it comes from.
        steps: Starts it; its keyword arguments are the method's options.
        walks: How often it goes over the windows.
        pools_gradient: Whether its weights are means of gradients, which are zero before a normalisation.
        ignores_class: Whether it looks at activations alone, so that neither the class nor the contrast class has any influence.
        values: What its values are: contributions to the score, whose sum can be compared with it; logits; or numbers of which only the
            pattern has a meaning.
        integrates: Whether it integrates the gradient along a path.
        of_attention: Whether it explains the attention of transformers, of all their blocks where none is chosen.
        needs_gradient: Whether it is made of gradients.
    """

    title: str
    summary: str
    source: str
    steps: Callable[..., AnySteps]
    walks: int
    pools_gradient: bool = False
    ignores_class: bool = False
    values: Literal["contributions", "logits", "pattern"] = "contributions"
    integrates: bool = False
    of_attention: bool = False
    needs_gradient: bool = True

    @property
    def units(self) -> str:
        """Of the map's values."""
        return ARBITRARY_UNITS if self.values == "pattern" else LOGIT_UNITS

    @property
    def options(self) -> dict[str, Any]:
        """Names of the options and their defaults."""
        parameters = inspect.signature(self.steps).parameters.values()
        return {parameter.name: parameter.default for parameter in parameters}

    @property
    def described_options(self) -> tuple[MethodOption, ...]:
        """The options as a form needs them."""
        hints = get_type_hints(self.steps)
        annotated = get_type_hints(self.steps, include_extras=True)
        return tuple(
            MethodOption(
                name,
                default,
                get_args(hints[name]),  # none but a Literal has any
                hints[name] is int,
                "".join(getattr(annotated[name], "__metadata__", ())),
            )
            for name, default in self.options.items()
        )

    def with_options(self, options: Mapping[str, Any]) -> Method:
        """The method with some of its options set.

        Raises:
            EngineError: `method-option`.
        """
        for name, value in options.items():
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise EngineError("method-option", f"{self.title} has no option '{name}'. Its options: {known}.")
            allowed = _allowed(get_type_hints(self.steps)[name], value)
            if allowed:
                raise EngineError(
                    "method-option", f"The option '{name}' of {self.title} must be {allowed}, and {value!r} is not."
                )
        return replace(self, steps=partial(self.steps, **options)) if options else self


METHODS: dict[str, Method] = {
    "seg-cam": Method(
        "Seg-CAM", "weights of the 1x1 convolution after the layer", "Zhou et al., CVPR 2016", seg_cam, 1,
        values="logits", needs_gradient=False,
    ),
    "seg-grad-cam": Method(
        "Seg-Grad CAM", "mean gradient of each channel", "Vinogradova et al., AAAI 2020", seg_grad_cam, 2, True
    ),
    "seg-shapley-cam": Method(
        "Seg-Shapley CAM", "mean gradient of each channel, with the score's curvature", "Cai, arXiv 2501.06261", seg_shapley_cam, 2,
        pools_gradient=True,
    ),
    "seg-grad-cam-pp": Method(
        "Seg-Grad CAM++", "positive gradients, weighted as in the paper", "Chattopadhay et al., WACV 2018", seg_grad_cam_pp, 3,
        values="pattern",
    ),
    "seg-grad-cam-pp-local": Method(
        "Seg-Grad CAM++ (local)", "the same, weighted as in MONAI and torchcam", "MONAI, GradCAMpp", seg_grad_cam_pp_local, 3,
        values="pattern",
    ),
    "seg-xgrad-cam": Method(
        "Seg-XGrad CAM", "gradients averaged by activation", "Fu et al., BMVC 2020", seg_xgrad_cam, 2, True
    ),
    "seg-hires-grad-cam": Method(
        "Seg-HiRes-Grad CAM", "gradient times activation at every position", "Rheude et al., MELBA 2024:023", seg_hires_grad_cam, 1
    ),
    "seg-integrated-hires-cam": Method(
        "Seg-Integrated-HiRes CAM", "gradient integrated from a baseline: its sum is the score's change", "Sattarzadeh et al., ICASSP 2021",
        seg_integrated_hires_cam, 1, integrates=True,
    ),
    "seg-xres-cam": Method(
        "Seg-XRes CAM", "gradients pooled over small blocks", "Hasany et al., CVPR Workshops 2023", seg_xres_cam, 1
    ),
    "seg-layer-cam": Method(
        "Seg-Layer CAM", "positive gradient times activation", "Jiang et al., IEEE TIP 2021", seg_layer_cam, 1
    ),
    "seg-elementwise-cam": Method(
        "Seg-ElementWise CAM", "sum of the positive evidence alone", "grad-cam, GradCAMElementWise", seg_elementwise_cam, 1
    ),
    "seg-legrad": Method(
        "Seg-LeGrad", "positive gradient of a transformer's attention", "Bousselham et al., arXiv 2404.03214", seg_legrad, 1,
        values="pattern", of_attention=True,
    ),
    "seg-eigen-cam": Method(
        "Seg-Eigen CAM", "main component of the activations, whatever the class", "Muhammad & Yeasin, IJCNN 2020", seg_eigen_cam, 2,
        ignores_class=True, values="pattern",
    ),
    "seg-kpca-cam": Method(
        "Seg-KPCA CAM", "main kernel component of the activations, whatever the class", "Karmani et al., arXiv 2410.00267", seg_kpca_cam, 3,
        ignores_class=True, values="pattern",
    ),
    "seg-eigengrad-cam": Method(
        "Seg-EigenGrad CAM", "main component of gradient times activation", "grad-cam, EigenGradCAM", seg_eigengrad_cam, 2,
        values="pattern",
    ),
    "seg-eigen-cam-2025": Method(
        "Seg-Eigen-CAM (2025)", "main component of |gradient| times activation", "Chung & Ying, Appl. Sci. 2025, 15:7562",
        seg_eigen_cam_2025, 2, values="pattern",
    ),
    "seg-fem": Method(
        "Seg-FEM", "channels by how much of them stands out, whatever the class", "Fuad et al., IPTA 2020", seg_fem, 3,
        ignores_class=True, values="pattern", needs_gradient=False,
    ),
    "seg-ablation-cam": Method(
        "Seg-Ablation CAM", "drop of the score without each channel", "Desai & Ramaswamy, WACV 2020", seg_ablation_cam, 2,
        values="pattern", needs_gradient=False,
    ),
    "seg-score-cam": Method(
        "Seg-Score CAM", "the score of the image seen through each channel", "Wang et al., CVPR Workshops 2020", seg_score_cam, 3,
        values="pattern", needs_gradient=False,
    ),
}  # fmt: skip


def find_method(name: str) -> Method:
    """The method called `name`.

    Raises:
        EngineError: `method-unknown`, naming those there are.
    """
    if name not in METHODS:
        raise EngineError("method-unknown", f"Unknown method '{name}'. Known methods: {', '.join(METHODS)}.")
    return METHODS[name]


def method_summaries() -> tuple[MethodSummary, ...]:
    """What there is to know of every method, in the order of the table."""
    return tuple(
        MethodSummary(name, one.title, one.summary, one.source, one.ignores_class, one.described_options)
        for name, one in METHODS.items()
    )


def _allowed(hint: Any, value: Any) -> str:
    """What an option of this type must be, where `value` is not; empty where it is."""
    if get_origin(hint) is Literal:
        return "" if value in get_args(hint) else " or ".join(map(repr, get_args(hint)))
    if hint is int:
        return "" if type(value) is int and value >= 1 else "a whole number of 1 or more"
    return "" if isinstance(value, int | float) and 0 < value < math.inf else "a number above 0"
