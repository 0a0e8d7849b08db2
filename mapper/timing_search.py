"""Searches of candidates in the timing model: what they find, and how long they take (``dataflows/candidates.py``)."""

from __future__ import annotations

from dataflows import candidates
from mapper.compile import Program
from mapper.program import Job
from mapper.timing_gather import Lists
from mapper.timing_vector import Lanes


class Searches:
    """Searches of a program.

    Parameters
    ----------
    program : Program
    lists : Lists
        Where their lists are written. Its golden integers say what is found; where these are not known, as many keys as
        there are steps, all over the keys.
    """

    def __init__(self, program: Program, lists: Lists):
        self.program, self.lists = program, lists

    def cycles(self, job: Job) -> int:
        """Cycles of a job behind the last word of its query, to its tokens; its list is written."""
        attention, fields = self.program.cfg.attention, job.registers["select"]
        assert attention is not None
        keys, steps, place = fields["count"], fields["keep"], fields["place"]
        search = self.program.searches.get(job.index)
        found = None if search is None else search.found(self.lists.activations)
        if found is None:
            count = min(keys, steps)
            found = [i * keys // count for i in range(count)]
        listed = [max(1, len(found)), *(found or [0])]
        self.lists.values[place : place + len(listed)] = listed
        lanes = self.program.cfg.lanes
        return candidates.job_cycles(keys, attention.candidate_columns, steps, found, lanes, attention.candidates)


class Searching:
    """A job that has been taken, and waits for the words of its query.

    Attributes
    ----------
    ended : int or None
        When its tokens are given, as soon as that is known.
    last, source : int
        When the last word was taken, and the job that it came from.
    """

    ended: int | None = None

    def __init__(self, job: Job, taken: int, lanes: Lanes, searches: Searches):
        self.job, self.taken, self.lanes, self.searches = job, taken, lanes, searches
        self.source, self._words, self.last = job.index, job.registers["mode"]["blocks"], taken

    def work(self) -> None:
        """Take words from VECTOR, as far as it is known when."""
        while self._words:
            offered = self.lanes.offered(rows=True)
            if offered is None:
                return
            self.last = max(self.last + 1, offered)
            self.source = self.lanes.jobs[0].job.index
            self.lanes.pop(self.last)
            self._words -= 1
            if not self._words:
                self.ended = self.last + self.searches.cycles(self.job)
