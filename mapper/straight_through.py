"""Rounding that gradients pass: of weights by every scheme of ``--bits``, of inputs with a scale that trains (LSQ)."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from mapper.activation_scale import activation_scale
from mapper.clipping import clipped
from mapper.histogram import BINS, Histogram
from mapper.narrow_weights import levels, two_scales
from mapper.precision import Precision


class RoundedWeights(nn.Module):
    """Weights as the quantizer will have them, a scale per output channel; gradients go to the weights unchanged."""

    def __init__(self, precision: Precision):
        super().__init__()
        self.precision = precision

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Round."""
        flat = weight.detach().double().reshape(len(weight), -1).cpu().numpy()
        if self.precision.scheme == "ttq":
            codes, step = two_scales(flat, (1 << self.precision.w_bits - 1) - 1)
            scale = np.full(len(flat), step)
        else:
            codes, scale = levels(flat, self.precision.w_bits, self.precision.scheme)
        rounded = torch.from_numpy(codes * scale[:, None]).to(weight).reshape(weight.shape)
        return weight + (rounded - weight).detach()

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """What trains begins as the weights."""
        return weight


class RoundedInputs(nn.Module):
    """Inputs of a layer rounded to levels whose step trains (Esser et al., Learned Step Size Quantization, 2020).

    Parameters
    ----------
    samples : values that the layer has seen
    bits : of a level
    """

    def __init__(self, samples: torch.Tensor, bits: int):
        super().__init__()
        low, high = (float(v) for v in torch.aminmax(samples))
        counts = torch.histc(samples.float(), BINS, low, high) if low < high else torch.zeros(BINS)
        if bits <= 8:
            low, high = clipped(Histogram(low, high, counts.double().cpu().numpy()), bits)
        scale, self.zero = activation_scale(low, high, bits)
        self.least, self.most = -(1 << bits - 1), (1 << bits - 1) - 1
        self.scale = nn.Parameter(torch.tensor(scale, device=samples.device))
        self.slow = 1 / float(np.sqrt(samples[0].numel() * self.most))
        self.fixed: float | None = None

    def freeze(self) -> None:
        """Keep the step as it is."""
        self.fixed = float(self.scale.detach().abs())
        del self.scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Round."""
        if self.fixed is not None:
            return torch.fake_quantize_per_tensor_affine(x, self.fixed, self.zero, self.least, self.most)
        step = self.scale.abs() * self.slow + (self.scale.abs() * (1 - self.slow)).detach()
        codes = (x / step + self.zero).clamp(self.least, self.most)
        codes = codes + (codes.round() - codes).detach()
        return (codes - self.zero) * step


class Sign(nn.Module):
    """``torch.sign`` with the gradient of a clamp to -1..1 (Courbariaux et al., Binarized Neural Networks, 2016).

    Zero counts as positive. In evaluation mode it is ``torch.sign`` alone, as ``torch.export`` shall see it.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Take the sign."""
        if not self.training:
            return torch.sign(x)
        near = x.clamp(-1, 1)
        return near + (torch.where(x >= 0, 1.0, -1.0) - near).detach()
