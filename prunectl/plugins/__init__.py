"""Names and options of plug-ins: the table of built-in ones, how a name is resolved, how options are read."""
