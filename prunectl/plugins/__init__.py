"""Names and options of plug-ins: the table of built-in ones, and functions that resolve names and read options."""
