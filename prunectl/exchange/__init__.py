"""Import networks of other libraries and export ours, in the formats of others."""
