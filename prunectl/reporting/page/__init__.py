"""The page that `report -o` writes: sections, figures, assets, and what puts them together."""
