"""Training: all runs, and step by step what led to one network."""

from collections.abc import Sequence

from prunectl.checkpoints.header import base_name
from prunectl.reporting.curves import Setting
from prunectl.reporting.page.blocks import Section
from prunectl.reporting.page.figures.tradeoff import Styles
from prunectl.reporting.page.figures.training import all_courses, course, panels
from prunectl.reporting.sources import Source, Sources


def training_section(
    settings: Sequence[Setting], sources: Sources, focus: Source | None, styles: Styles, suffixes: Sequence[str]
) -> Section:
    """The logs; a network whose log is gone is told."""
    section = Section("training", "Training", legend=True)
    for i, (setting, suffix) in enumerate(zip(settings, suffixes, strict=True)):
        figure = all_courses(setting, sources, styles, prefix=f"t{i}", suffix=suffix)
        if figure is not None:
            section.figures.append(figure)
    if focus is not None:
        found = course(focus, sources.lineage.get(focus.path, ()))
        section.figures += panels(found, prefix="focus")
        if found.records:
            section.lead = (
                f"All runs, then step by step the trainings that led to {base_name(focus.path)}. "
                "Dashed upright lines are prunings."
            )
        else:
            section.notes.append(f"No log of the training of {base_name(focus.path)} lies beside it.")
    without = [base_name(s.path) for s in sources.given if _trained(s) and not s.log]
    if without:
        section.notes.append(f"{len(without)} trained checkpoints have no log: {', '.join(without[:5])}.")
    return section


def _trained(source: Source) -> bool:
    return bool(source.history) and source.history[-1]["command"] == "train"
