"""Attacks that foolbox lacks, one file each; they are foolbox attacks, and run wherever those do."""
