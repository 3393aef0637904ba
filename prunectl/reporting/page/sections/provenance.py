"""The commands that made the checkpoints."""

from prunectl.reporting.page.blocks import Section
from prunectl.reporting.page.data import PageData
from prunectl.reporting.page.provenance import tree


def provenance_section(data: PageData) -> Section | None:
    """The tree of commands, with the checkpoints that each one wrote; None if only results exist."""
    steps = tree(data.sources.given)
    if not steps:
        return None
    return Section(
        "Provenance",
        "The commands that led to these checkpoints, starting on the left. Commands that differ only in seed or target "
        "are drawn as one. Open a step to see its checkpoints, each with its commands to copy.",
        steps=steps,
    )
