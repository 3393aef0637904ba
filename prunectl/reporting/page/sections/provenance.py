"""The commands that made the checkpoints."""

from prunectl.reporting.page.blocks import Section
from prunectl.reporting.page.data import PageData
from prunectl.reporting.page.provenance import tree


def provenance_section(data: PageData) -> Section:
    """The tree of commands, with the checkpoints that each one wrote."""
    return Section(
        "Provenance",
        "The commands that led to these checkpoints, the first one on the left. Commands that differ only in seed or "
        "target are drawn as one. Open a step to see its checkpoints with their SHA-256, options and versions.",
        steps=tree(data.sources.given),
    )
