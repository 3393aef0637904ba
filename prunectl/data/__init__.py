"""Images with labels. Loading, decoding, batching live here; the datasets themselves are in `sets/`."""
