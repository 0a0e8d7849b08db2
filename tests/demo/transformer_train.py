"""Trains a small transformer on scikit-learn's handwritten digits: the rows of an image are its tokens."""

import numpy as np
import torch
from torch import nn

from tests.demo.train import Digits

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
    model = DigitTransformer()
    images, labels = torch.from_numpy(data.train_images), torch.from_numpy(data.train_labels.astype(np.int64))
    generator = torch.Generator().manual_seed(seed)
    batch = 32
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=generator).split(batch):
            if len(chosen) < batch:
                continue
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()
