"""Labelled images: loading, decoding and batching; the datasets themselves are in `sets/`."""
