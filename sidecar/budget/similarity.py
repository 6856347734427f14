"""Exchanges that say the same again: equal or similar fingerprints, close in time.

Two 64-bit fingerprints that differ in at most k bits agree entirely in at least one of k + 1 disjoint bands (Manku,
Jain and Das Sarma, "Detecting Near-Duplicates for Web Crawling", 2007). So only what shares a band is compared, never
all with all.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter

from sidecar.budget.items import Item

# Where more different fingerprints than this share a band, they are badly made, and only the nearest are compared.
CROWD = 64

_is_fingerprint = re.compile(r"[0-9a-fA-F]{16}").fullmatch


@lru_cache(maxsize=16)
def _bands(count: int) -> Sequence[int]:
    """`count` disjoint masks that cover 64 bits. Interleaved: half-empty fingerprints still fall into many buckets."""
    return tuple(sum(1 << bit for bit in range(band, 64, count)) for band in range(count))


def superseded(items: Iterable[Item], *, within: float, bits: int) -> dict[str, Item]:
    """By id: each item that a newer one says again, and the newer one (the nearest equal one, else a similar one).

    Args:
        items: in order of insertion, which decides where times of creation are equal; those without fingerprint are
            left aside. A fingerprint that is not 16 hex digits has equals, but none that are similar.
        within: the most seconds between the creation of the two.
        bits: the greatest Hamming distance of similar fingerprints.
    """
    marked = [item for item in items if item.fingerprint]
    marked.sort(key=attrgetter("created_at"))
    found: dict[str, Item] = {}
    latest: dict[int | str, Item] = {}  # fingerprint -> the nearest newer item that has it
    tables: list[tuple[int, dict[int, list[int]]]] = [(mask, {}) for mask in _bands(bits + 1)]
    for item in reversed(marked):
        text = item.fingerprint or ""
        mark: int | str = int(text, 16) if _is_fingerprint(text) else text
        until = item.created_at + within
        newer = latest.get(mark)
        latest[mark] = item
        if newer is not None and newer.created_at <= until:
            found[item.id] = newer
        elif isinstance(mark, int):
            similar = None
            for mask, table in tables:
                key = mark & mask
                bucket = table.get(key)
                if bucket is None:
                    table[key] = [mark]
                    continue
                if similar is None:
                    similar = _nearest(bucket, mark, latest, until, bits)
                bucket.append(mark)
                if len(bucket) > CROWD:
                    del bucket[0]
            if similar is not None:
                found[item.id] = similar
    return found


def _nearest(
    bucket: Sequence[int], mark: int, latest: Mapping[int | str, Item], until: float, bits: int
) -> Item | None:
    """The item of a fingerprint in the bucket that is similar, and that was not created too late."""
    for other in bucket:
        if (other ^ mark).bit_count() <= bits and other != mark:
            item = latest[other]
            if item.created_at <= until:
                return item
    return None
