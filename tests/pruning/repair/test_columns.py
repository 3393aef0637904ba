"""Values in memory and in temporary files."""

import tempfile

import pytest
import torch

from prunectl.errors import FileError
from prunectl.pruning.repair.columns import Budget, Column


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.bool, torch.int64])
@pytest.mark.parametrize("limit", [0, 100, 10**6])
def test_what_goes_in_comes_out(dtype: torch.dtype, limit: int) -> None:
    values = [torch.arange(24).view(2, 3, 4).to(dtype).transpose(1, 2), torch.zeros(0, 3).to(dtype), 7, (1, 2)]
    budget = Budget(limit)
    column = Column(budget)
    for value in values:
        column.append(value)
    assert budget.used <= limit
    for _ in range(2):
        for found, value in zip(column, values, strict=True):
            assert torch.equal(found, value) if isinstance(value, torch.Tensor) else found == value
    assert torch.equal(column[0], values[0])
    column.close()
    assert budget.used == 0


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(FileError, match=r"cannot write 16 bytes to .*: No space left on device; .* smaller `n`"):
        Column(Budget(0)).append(torch.zeros(4))
