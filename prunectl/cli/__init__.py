"""The command line: parsing, printing, progress. The only room that knows Typer and rich."""
