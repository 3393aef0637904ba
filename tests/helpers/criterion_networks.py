"""A chain, a residual and a depthwise network, on which every criterion is tried."""

from torch import Tensor, nn

SHAPE = (1, 8, 8)


class Residual(nn.Module):
    """Two blocks on one stream of 8 channels: 8 + 4 + 4 nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(nn.Conv2d(8, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
                *(nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)),
            )
            for _ in range(2)
        )
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = nn.functional.relu(x + block(x))
        return self.head(x.mean((2, 3)))


def chain() -> nn.Module:
    """4 + 6 + 8 nodes; the last ones have no BatchNorm."""
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.LeakyReLU(0.05)),
        *(nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.LeakyReLU(0.05), nn.AdaptiveAvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(24, 8), nn.LeakyReLU(0.05), nn.Dropout(0.3), nn.Linear(8, 3)),
    )


def depthwise() -> nn.Module:
    """An inverted residual without the addition: 6 + 6 nodes."""
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 1), nn.BatchNorm2d(6), nn.ReLU6()),
        *(nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), nn.BatchNorm2d(6), nn.ReLU6()),
        *(nn.Conv2d(6, 6, 1, bias=False), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)),
    )


NETWORKS = {"chain": chain, "residual": Residual, "depthwise": depthwise}
