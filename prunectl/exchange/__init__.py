"""Networks of other libraries come in, ours go out: files and formats of others."""
