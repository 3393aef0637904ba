"""report: checkpoints side by side, from their headers, results and logs.

Rows, curves and their machine forms need no torch, and no plotting library; `prunectl.report.page` makes the page.
"""

from prunectl.report.curves import settings
from prunectl.report.formats import as_csv, as_latex, as_markdown
from prunectl.report.rows import COLUMNS, report, rows
from prunectl.report.sources import collect

__all__ = ["COLUMNS", "as_csv", "as_latex", "as_markdown", "collect", "report", "rows", "settings"]
