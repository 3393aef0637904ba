"""Figures of the page: matplotlib draws them, as SVG that takes its colours from the page."""
