"""Counts what becomes of the readings of a stream."""

from collections.abc import Sequence

from geomesh.airquality.v1 import airquality_pb2 as pb
from geomesh.types.v1.types_pb2 import ItemError


class Tally:
    """Counts what becomes of the readings of a stream."""

    def __init__(self) -> None:
        """Begins at nothing."""
        self.total = 0
        self._accepted = 0
        self.errors: list[ItemError] = []

    def count(self, total: int, accepted: int, errors: Sequence[ItemError]) -> None:
        """Counts a chunk."""
        self.total += total
        self._accepted += accepted
        self.errors += errors

    def reply(self, changed: int) -> pb.IngestReadingsResponse:
        """Returns the reply to the whole stream."""
        return pb.IngestReadingsResponse(
            accepted_count=self._accepted,
            changed_count=changed,
            rejected_count=self.total - self._accepted,
            errors=self.errors,
        )
