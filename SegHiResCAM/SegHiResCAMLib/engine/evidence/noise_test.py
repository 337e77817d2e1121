"""Is a map stable? Noise of 2 % of each image's display window is added, before all preprocessing."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor

from SegHiResCAMLib.engine.evidence.probe import Probe, in_domain
from SegHiResCAMLib.engine.evidence.weights_test import similarity
from SegHiResCAMLib.engine.images.resampling import is_same_grid
from SegHiResCAMLib.engine.inference.preprocessing import prepare
from SegHiResCAMLib.engine.progress import Progress, part
from SegHiResCAMLib.records.map_check import NoiseTest

DRAWS = 2
SHARE = 0.02
"""Of the display window."""

CT_WINDOW, AIR = 400.0, -500.0
"""HU; only CT has values under that of air."""


def noise_test(probe: Probe, signed_map: torch.Tensor, draws: int, seed: int, progress: Progress) -> NoiseTest | None:
    """How a map (B, *spatial) changes, in one map a draw; None where the noise moves the model's grid."""
    volume = probe.request.volume
    values = volume.as_tensor().numpy()
    spreads = [SHARE * display_window(one) for one in values]
    spread = np.array(spreads, np.float32)[:, None, None, None]
    changes, similarities = [], []
    for draw in range(draws):
        report = part(progress, draw / draws, (draw + 1) / draws)
        report(0.0, "Adding noise")
        noise = np.random.default_rng((seed, draw)).standard_normal(values.shape, np.float32) * spread
        noisy = MetaTensor(torch.from_numpy(values + noise), meta=dict(volume.meta))
        prepared = prepare(probe.model, noisy)
        if not is_same_grid(prepared.image, probe.prepared.image):
            return None
        other = probe.signed_map(probe.stack_of(probe.select(prepared.image).as_tensor()), report)
        before, after = (in_domain(one, probe.domain).astype(np.float64) for one in (signed_map, other))
        changes.append(float(np.linalg.norm(after - before) / max(float(np.linalg.norm(before)), 1e-300)))
        similarities.append(similarity(probe, signed_map, other))
    return NoiseTest(tuple(spreads), tuple(changes), tuple(similarities))


def display_window(values: np.ndarray) -> float:
    """Of one image: 400 HU for a CT, which is known by its air; else from the 1st to the 99th percentile of a sample of the values."""
    if values.min() < AIR:
        return CT_WINDOW
    flat = values.ravel()
    low, high = np.percentile(flat[:: max(flat.size // 2**20, 1)], [1, 99])
    return float(high - low)
