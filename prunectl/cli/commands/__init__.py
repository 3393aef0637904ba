"""The commands, one file each: parameters, and calls into the library. Nothing here computes."""
