"""Trains a small transformer on scikit-learn's handwritten digits: the rows of an image are its tokens."""

import torch
from torch import nn

from tests.demo.train import Digits, fit

EPOCHS = 30

WIDTH, HEADS, LAYERS, HIDDEN = 64, 4, 3, 128


class DigitTransformer(nn.Module):
    """A row of pixels becomes a token by a linear layer, written as a convolution; encoder layers; mean; classes."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Conv2d(1, WIDTH, (1, 8))
        self.positions = nn.Parameter(torch.randn(8, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, HIDDEN, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.classify = nn.Linear(WIDTH, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.rows(x).flatten(2).transpose(1, 2) + self.positions
        return self.classify(self.encoder(tokens).mean(1))


def train(data: Digits, epochs: int = EPOCHS, seed: int = 0) -> nn.Module:
    """A trained network in evaluation mode; the same one for the same seed on the same machine."""
    torch.set_num_threads(1)  # tensors this small lose more by sharing work between cores than they gain
    torch.manual_seed(seed)
    return fit(DigitTransformer(), data, epochs, 32, 3e-3, seed)
