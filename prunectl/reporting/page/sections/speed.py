"""Honest speed of one network."""

from prunectl.checkpoints.header import base_name
from prunectl.reporting.findings import Look
from prunectl.reporting.page.blocks import Section
from prunectl.reporting.page.figures.speed import speed_bars
from prunectl.reporting.sources import Source


def speed_section(focus: Source, look: Look | None) -> Section:
    """Dense, masked and shrunk side by side, with the likely reasons where it is not faster."""
    section = Section("speed", "Honest speed")
    speed = None if look is None else look.speed
    if speed is None:
        section.notes.append("Nothing was timed: the network was not run for this page.")
        return section
    section.lead = (
        f"{base_name(focus.path)} beside its dense original, timed for this page in turns ({speed.device}). "
        "Masked: the pruned weights are zeros. Shrunk: the dead nodes are removed."
    )
    batches = dict.fromkeys(timing.batch for timing in speed.timings)
    figures = [speed_bars(speed, batch, prefix="in") for batch in batches]
    section.figures = [figure for figure in figures if figure is not None]
    section.notes += [f"{reason}" for reason in speed.reasons]
    return section
