"""Connected components."""

from typing import Any

import numpy as np


def components(rows: np.ndarray[Any, Any], columns: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """The component number of each of `size` points, int (size,), if rows[i] is linked with columns[i]."""
    # scipy takes as long to import as all of prunectl, and most commands never get here
    from scipy.sparse import coo_array  # noqa: PLC0415
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    links = coo_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(size, size))
    found: np.ndarray[Any, Any] = connected_components(links, directed=False)[1]
    return found
