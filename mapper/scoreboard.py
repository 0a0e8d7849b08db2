"""Which jobs must come after which, found from the addresses they touch."""

from __future__ import annotations

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
        outside = [s for s in self.spans[access.memory] if s.end <= access.start or access.end <= s.start]
        outside.append(_Span(access.start, access.end, job))
        self.spans[access.memory] = sorted(outside, key=lambda s: s.start)

    def _cut(self, memory: str, start: int, end: int) -> list[_Span]:
        """Spans that tile exactly [start, end), in order; those across its borders are cut, gaps become spans."""
        outside, inside = [], []
        for span in self.spans.get(memory, []):
            if span.end <= start or end <= span.start:
                outside.append(span)
                continue
            if span.start < start:
                outside.append(_Span(span.start, start, span.writer, span.readers))
            if end < span.end:
                outside.append(_Span(end, span.end, span.writer, span.readers))
            inside.append(_Span(max(span.start, start), min(span.end, end), span.writer, span.readers))
        position, gaps = start, []
        for border in [*inside, _Span(end, end)]:
            if position < border.start:
                gaps.append(_Span(position, border.start))
            position = border.end
        inside = sorted(inside + gaps, key=lambda s: s.start)
        self.spans[memory] = sorted(outside + inside, key=lambda s: s.start)
        return inside
