"""The command line: parsing, printing, progress. Only this package uses Typer and rich."""
