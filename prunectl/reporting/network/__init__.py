"""The analysis of one network for the page, with torch."""
