"""The sections of the page, one file each; `table` has their order."""
