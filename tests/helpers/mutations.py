"""Random damage of bytes, JSON, TOML and safetensors files."""

import copy
import json
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

ODD = (
    *(
        None,
        True,
        False,
        -1,
        0,
        1,
        2.5,
        10**18,
        10**30,
        -(10**18),
        float("nan"),
        float("inf"),
        1e308,
        "",
        "x",
        ":",
        "a/b",
    ),
    *("..", "\0", "\ud800", "é" * 300, "x.py:y", [], [1], [[]], {}, {"name": "x"}, {"x": {"y": [1]}}, [{}], [None]),
)
DEEP = "[" * 100_000 + "]" * 100_000
Mutate = Callable[[random.Random, bytes], bytes]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a JSON tree."""
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def change_json(rng: random.Random, tree: Any) -> str:
    """The text of a JSON tree with a value replaced, left out, doubled, added, or nested very deep."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = list(places(tree))
        if not found:
            break
        *path, last = rng.choice(found)
        parent = tree
        for key in path:
            parent = parent[key]
        action = rng.random()
        if action < 0.7:
            parent[last] = copy.deepcopy(rng.choice(ODD))
        elif action < 0.85:
            del parent[last]
        elif isinstance(parent, dict):
            parent[rng.choice(("x", "model", "config", "steps", "nodes", "events", "tuning"))] = copy.deepcopy(
                rng.choice(ODD)
            )
        else:
            parent.extend(parent[-1:] * rng.choice((1, 2000)))
    text = json.dumps(tree)
    if rng.random() < 0.03:
        text = text.replace("1", DEEP, 1)
    return text


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    """Bytes replaced, cut out, cut off, or put in."""
    whole, at = bytearray(data), rng.randrange(max(len(data), 1))
    action = rng.random()
    if action < 0.4:
        for _ in range(rng.choice((1, 1, 4, 30))):
            if whole:
                whole[rng.randrange(len(whole))] = rng.choice((0, 0xFF, rng.randrange(256)))
    elif action < 0.6:
        del whole[at : at + rng.choice((1, 8, 100))]
    elif action < 0.8:
        del whole[at:]
    else:
        whole[at:at] = rng.choice((b"\xff", b"\0" * 8, b"[" * 100_000, b'{"a":', b"\n", b"1e999", b"NaN"))
    return bytes(whole)


def _split(data: bytes) -> tuple[bytes, bytes]:
    end = 8 + struct.unpack("<Q", data[:8])[0]
    return data[8:end], data[end:]


def _joined(text: bytes, tensors: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text + tensors


def own_header(rng: random.Random, data: bytes) -> bytes:
    """A change of our own JSON in a safetensors file."""
    text, tensors = _split(data)
    entries = json.loads(text)
    metadata = entries["__metadata__"]
    key = next(iter(metadata))
    own = metadata[key] if not metadata[key].startswith("{") else change_json(rng, json.loads(metadata[key]))
    metadata[key] = own.encode("utf-8", "replace").decode() if rng.random() < 0.95 else "{" + own
    return _joined(json.dumps(entries).encode(), tensors)


def contents(rng: random.Random, data: bytes) -> bytes:
    """A change of the table of contents of a safetensors file."""
    text, tensors = _split(data)
    return _joined(change_json(rng, json.loads(text)).encode(), tensors)


def tensors(rng: random.Random, data: bytes) -> bytes:
    """Other numbers, or another type of the same size."""
    text, body = _split(data)
    if rng.random() < 0.5:
        return _joined(text, change_bytes(rng, body)[: len(body)].ljust(len(body), b"\xff"))
    kinds = [b'"F32"', b'"I32"', b'"U32"', b'"F64"', b'"BF16"', b'"F8_E4M3"', b'"BOOL"', b'"U8"', b'"I64"', b'"C64"']
    return _joined(text.replace(rng.choice(kinds[:1] + kinds[7:9]), rng.choice(kinds), rng.choice((1, -1))), body)


def lines(rng: random.Random, data: bytes) -> bytes:
    """A change of one line of JSON among others."""
    rows = data.splitlines(keepends=True)
    if not rows:
        return change_bytes(rng, data)
    i = rng.randrange(len(rows))
    rows[i] = change_json(rng, json.loads(rows[i])).encode("utf-8", "replace") + b"\n"
    return b"".join(rows)


def toml(rng: random.Random, data: bytes) -> bytes:
    """Another value, or another table."""
    rows = data.decode().splitlines()
    i = rng.choice([i for i, row in enumerate(rows) if row])
    odd = ('""', "[]", "{}", "-1", "1e18", "nan", "true", '"x.py:y"', "[[1]]", '"\\u0000"', "2026-11-30", "[" * 100_000)
    key, sign, _ = rows[i].partition("=")
    rows[i] = f"{key}= {rng.choice(odd)}" if sign else f"[{rng.choice(('grid', 'x', 'pipelines', 'prune', 'a.b.c'))}]"
    return "\n".join(rows).encode()
