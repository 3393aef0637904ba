"""The measured speed of one network."""

from prunectl.checkpoints.names import base_name
from prunectl.reporting.page.blocks import Section
from prunectl.reporting.page.data import PageData
from prunectl.reporting.page.figures.speed import speed_bars


def speed_section(data: PageData) -> Section | None:
    """Dense, masked and shrunk side by side, with likely reasons if pruning did not make it faster."""
    if data.focus is None:
        return None
    section = Section("Measured speed")
    speed = None if data.look is None else data.look.speed
    if speed is None:
        section.notes.append(
            "The network was not timed for this page. Run `prunectl report CHECKPOINT -o PAGE.html` without `--no-run`."
        )
        return section
    section.lead = (
        f"{base_name(data.focus.path)} and its dense original, timed in turns for this page ({speed.device}). "
        "Masked: pruned weights are zeros. Shrunk: dead nodes are removed."
    )
    batches = dict.fromkeys(timing.batch for timing in speed.timings)
    figures = [speed_bars(speed, batch, prefix="in") for batch in batches]
    section.figures = [figure for figure in figures if figure is not None]
    section.notes += speed.reasons
    return section
