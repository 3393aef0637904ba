"""Networks that read the patches as a sequence."""

import torch
from torch import Tensor, nn

from tests.helpers.toys.parts import CLASSES, SHAPE, Toys


class Recurrent(nn.Module):
    """A recurrent layer over the patches, its last step to the head."""

    def __init__(self, layer: nn.Module, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(SHAPE[0], 6, 4, stride=4)
        self.rnn, self.head = layer, nn.Linear(outputs, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.proj(x)).flatten(2).transpose(1, 2)  # (B, 4, 6)
        x, _ = self.rnn(x)
        return self.head(x[:, -1])


class LastState(Recurrent):
    """The same through the last hidden state."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.proj(x)).flatten(2).permute(2, 0, 1)
        _, (hidden, _) = self.rnn(x)
        return self.head(hidden[-1])


class Cell(nn.Module):
    """A recurrent cell unrolled by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.proj, self.cell = nn.Conv2d(SHAPE[0], 6, 4, stride=4), nn.GRUCell(6, 5)
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x).flatten(2)
        state = x.new_zeros(x.shape[0], 5)
        for step in x.unbind(2):
            state = self.cell(step, state)
        return self.head(state)


TOYS: Toys = {
    "lstm": (lambda: Recurrent(nn.LSTM(6, 5, batch_first=True), 5), SHAPE),
    "lstm-bidirectional": (lambda: Recurrent(nn.LSTM(6, 5, batch_first=True, bidirectional=True), 10), SHAPE),
    "lstm-two-layers": (lambda: Recurrent(nn.LSTM(6, 5, num_layers=2, batch_first=True), 5), SHAPE),
    "lstm-last-state": (lambda: LastState(nn.LSTM(6, 5), 5), SHAPE),
    "gru": (lambda: Recurrent(nn.GRU(6, 5, batch_first=True), 5), SHAPE),
    "gru-bidirectional": (lambda: Recurrent(nn.GRU(6, 5, batch_first=True, bidirectional=True), 10), SHAPE),
    "rnn": (lambda: Recurrent(nn.RNN(6, 5, batch_first=True), 5), SHAPE),
    "gru-cell": (Cell, SHAPE),
}
