"""Which jobs must come after which, found from the addresses they touch."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Access:
    """Half-open interval of one memory, read or written by a job; addresses in the memory's own unit."""

    memory: str
    start: int
    end: int
    write: bool = False


@dataclass
class _Span:
    """An interval whose addresses have the same history."""

    start: int
    end: int
    writer: int | None = None  # job that wrote it last
    readers: tuple[int, ...] = ()  # jobs that have read it since


@dataclass
class Scoreboard:
    """Who wrote and who has since read every interval of every memory."""

    spans: dict[str, list[_Span]] = field(default_factory=dict)

    def touch(self, job: int, access: Access) -> set[int]:
        """Record an access; returns the jobs it must come after (never ``job`` itself)."""
        before: set[int] = set()
        if access.start >= access.end:
            return before
        inside = self._cut(access.memory, access.start, access.end)
        for span in inside:
            if span.writer is not None:
                before.add(span.writer)
            if access.write:
                before.update(span.readers)
            else:
                span.readers = (*span.readers, job)
        if access.write:
            self._replace(access, job)
        before.discard(job)
        return before

    def _replace(self, access: Access, job: int) -> None:
        """One span, written by ``job``, instead of all inside the access."""
        spans = self.spans[access.memory]
        first = bisect_left(spans, access.start, key=_start)
        last = bisect_left(spans, access.end, key=_start)
        spans[first:last] = [_Span(access.start, access.end, job)]

    def _cut(self, memory: str, start: int, end: int) -> list[_Span]:
        """Spans that tile exactly [start, end), in order; those across its borders are cut, gaps become spans."""
        spans = self.spans.setdefault(memory, [])
        first = bisect_right(spans, start, key=_end)
        last = bisect_left(spans, end, key=_start)
        if last - first == 1 and (spans[first].start, spans[first].end) == (start, end):
            return [spans[first]]  # as it is most often
        pieces, inside, position = [], [], start
        for span in spans[first:last]:
            if span.start < start:
                pieces.append(_Span(span.start, start, span.writer, span.readers))
            if position < span.start:
                inside.append(_Span(position, span.start))
            inside.append(_Span(max(span.start, start), min(span.end, end), span.writer, span.readers))
            position = inside[-1].end
        if position < end:
            inside.append(_Span(position, end))
        pieces += inside
        if first < last and end < spans[last - 1].end:
            behind = spans[last - 1]
            pieces.append(_Span(end, behind.end, behind.writer, behind.readers))
        spans[first:last] = pieces
        return inside


def _start(span: _Span) -> int:
    return span.start


def _end(span: _Span) -> int:
    return span.end
