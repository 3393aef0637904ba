"""Attacks that foolbox lacks, one file each, as foolbox attacks."""
