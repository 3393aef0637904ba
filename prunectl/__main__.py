"""`python -m prunectl`."""

from prunectl.cli.app import main

main()
