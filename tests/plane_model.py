"""What the array over the output plane computes, from the words it takes: no time, no pointers."""

from __future__ import annotations

import numpy as np

from dataflows.config import Config


def plane_sums(cfg: Config, job: dict, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Words of sums in the order in which they leave the array.

    Parameters
    ----------
    job : dict
        Geometry register ``kernel``.
    x : int64 array (words, PEs)
    w : int64 array (weights,)

    Returns
    -------
    int64 array (rows * sums, columns)
    """
    rows, cols, kernel = cfg.array.rows, cfg.array.cols, job["kernel"]
    height, width, channels = kernel["rows"], kernel["cols"], kernel["channels"]
    weights = w.reshape(-1, channels, height, width)
    assert not len(x) % (len(weights) * channels), "words do not make whole channels"
    words = x.reshape(len(weights), channels, -1, rows * cols)
    used = np.zeros((height, width, len(weights), channels, rows, cols), np.int64)
    coming, group = 0, words[:, :, 0, :0]  # next word of each channel, what is left of one
    for ky in range(height):
        for kx in range(width):
            down = rows if ky < kernel["fresh_rows"] else 1
            across = cols if kx < kernel["fresh_cols"] else 1
            size = down * across
            if ky < kernel["fresh_rows"] and kx < kernel["fresh_cols"]:
                fresh, coming = words[:, :, coming], coming + 1
            else:
                if group.shape[2] < size:
                    group, coming = words[:, :, coming], coming + 1
                fresh, group = group[:, :, :size], group[:, :, size:]
            here = used[ky, kx]
            if ky >= kernel["fresh_rows"]:
                here[..., :-1, :] = used[ky - kernel["fresh_rows"], kx][..., 1:, :]
            if kx >= kernel["fresh_cols"]:
                here[..., rows - down :, :-1] = used[ky, kx - kernel["fresh_cols"]][..., rows - down :, 1:]
            here[..., rows - down :, cols - across :] = fresh.reshape(*fresh.shape[:2], down, across)
    assert coming == words.shape[2], f"a channel takes {coming} words, not {words.shape[2]}"
    sums = np.einsum("yxscij,scyx->sij", used, weights)
    return sums[:, ::-1].reshape(-1, cols)
