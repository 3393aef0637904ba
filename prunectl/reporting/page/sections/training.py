"""Training: all runs, and the trainings of one network step by step."""

from prunectl.checkpoints.names import base_name
from prunectl.reporting.page.blocks import Section
from prunectl.reporting.page.data import PageData
from prunectl.reporting.page.figures.training import all_courses, course, panels
from prunectl.reporting.sources import Source


def training_section(data: PageData) -> Section | None:
    """Curves from the logs, and notes on missing logs."""
    section = Section("Training", legend=True)
    courses = [
        all_courses(part.setting, part.sources, part.styles, prefix=f"t{part.number}", suffix=part.suffix)
        for part in data.each_setting()
    ]
    section.figures = [figure for figure in courses if figure is not None]
    section.legend = bool(section.figures)
    if data.focus is not None:
        _one_network(section, data.focus, data.sources.lineage.get(data.focus.path, ()))
    without = [base_name(source.path) for source in data.sources.given if _trained(source) and not source.log]
    if without:
        have = "1 trained checkpoint has" if len(without) == 1 else f"{len(without)} trained checkpoints have"
        more = ", ..." if len(without) > 5 else ""
        section.notes.append(f"{have} no log: {', '.join(without[:5])}{more}.")
    return section if section.figures or section.notes else None


def _one_network(section: Section, focus: Source, lineage: tuple[Source, ...]) -> None:
    found = course(focus, lineage)
    figures, constant = panels(found, prefix="focus")
    section.figures += figures
    if constant:
        section.notes.append(f"Constant, not drawn: {', '.join(constant)}.")
    if found.records:
        section.lead = (
            f"All runs, then the trainings that led to {base_name(focus.path)}, step by step. "
            "Dashed vertical lines mark prunings."
        )
    else:
        section.notes.append(f"There is no training log beside {base_name(focus.path)}.")


def _trained(source: Source) -> bool:
    return bool(source.history) and source.history[-1].command == "train"
