"""The HTML page that `report -o` writes: its sections, their figures, the template and style."""
