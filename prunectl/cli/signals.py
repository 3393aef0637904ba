"""Catches Ctrl-C, SIGTERM and SIGHUP (a closed terminal) where work can stop and be saved."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def caught() -> Iterator[list[int]]:
    """Collect the first such signal in a list; a second Ctrl-C or SIGTERM ends the program at once.

    A shell may signal a closed terminal twice, so a second SIGHUP does not end the program. What nohup ignores stays
    ignored.
    """
    seen: list[int] = []

    def catch(number: int, frame: object) -> None:
        if seen and number != hangup:
            raise KeyboardInterrupt
        seen.append(number)

    hangup = getattr(signal, "SIGHUP", None)  # not everywhere
    more = [] if hangup is None or signal.getsignal(hangup) == signal.SIG_IGN else [hangup]
    numbers = [signal.SIGINT, signal.SIGTERM, *more]
    before = {number: signal.signal(number, catch) for number in numbers}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
