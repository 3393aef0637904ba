"""Ctrl-C and SIGTERM, taken where work can stop and be kept."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def caught() -> Iterator[list[int]]:
    """Collect the first Ctrl-C or SIGTERM in a list; a second one ends the program at once."""
    seen: list[int] = []

    def catch(number: int, frame: object) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
