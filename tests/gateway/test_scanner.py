"""The frame scanner against a plain reading of the whole stream."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from reseller.gateway.sse import FrameScanner

PIECES = st.sampled_from(
    ["data: a", "data: {}", ": note", "event: x\ndata: y", "data: b\ndata: c", "", "\n", "\n\n"]
)
ENDS = st.sampled_from(["\n\n", "\r\n\r\n", "\r\r", "\n\n\n"])


def plainly(text: str) -> list[bytes]:
    """All frames of a stream that is read at once."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    frames = (frame.strip("\n") for frame in re.split(r"\n\n", lines))
    return [frame.encode() for frame in frames if frame]


@given(st.lists(st.tuples(PIECES, ENDS), max_size=8), st.lists(st.integers(1, 12), max_size=30))
def test_any_split_gives_the_same_frames(parts: list[tuple[str, str]], cuts: list[int]) -> None:
    """However the bytes are split, the frames are those of the whole, none lost, none doubled."""
    raw = "".join(piece + end for piece, end in parts).encode()
    scanner, found, at = FrameScanner(), list[bytes](), 0
    for cut in [*cuts, len(raw)]:
        chunk = raw[at : at + cut]
        at += len(chunk)
        if chunk:
            found += scanner.feed(chunk)
    found += scanner.end()
    assert [line for line in found if line] == plainly(raw.decode())
