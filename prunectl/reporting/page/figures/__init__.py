"""The figures of the page, drawn by matplotlib as SVG that takes its colours from the page."""
