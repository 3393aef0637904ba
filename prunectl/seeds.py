"""Seeds that differ by purpose: the same --seed must not draw the same numbers for weights and for masks."""

import hashlib


def seed_for(purpose: str, seed: int) -> int:
    """A 63-bit seed from the user's seed and what the draws are for."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:8], "little") >> 1
