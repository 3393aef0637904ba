"""The datasets, one short file each: a function `Loader` that returns ImageData."""
