"""ComputeIndex between protobuf messages and the domain's values."""

from collections.abc import Sequence
from datetime import datetime

from google.rpc.status_pb2 import Status

from airquality.assessment import Assessment
from airquality.computing import Concentration, Item, check_item, undefined
from airquality.convert.replies import index
from airquality.convert.requests import moment
from airquality.standards import Standard
from airquality.units import Pollutant
from geomesh.airquality.v1 import airquality_pb2 as pb
from meshkit.batch import partition
from meshkit.status import to_status


def items(
    request: pb.ComputeIndexRequest, standard: Standard, now: datetime
) -> tuple[list[Item], list[int], dict[int, Status]]:
    """Returns the good items, where each stands in the request, and the errors of the others by their places."""
    chosen = standard.version_of(request.index_version) if request.index_version else None

    def item_of(message: pb.IndexItem) -> Item:
        if chosen is not None:
            version = chosen
        else:
            at = moment(message.time, "time") if message.HasField("time") else now
            version = standard.version_at(at, field="time")
        return Item(
            version,
            [
                Concentration(Pollutant(each.pollutant), each.averaging_period, each.value, each.unit)
                for each in message.concentrations
            ],
        )

    good: list[Item] = []

    def check(message: pb.IndexItem) -> None:
        item = item_of(message)
        check_item(standard, item)
        good.append(item)

    parts = partition(request.items, check)
    return good, parts.indices, {error.index: error.status for error in parts.errors}


def response(
    standard: Standard,
    items_computed: Sequence[Item],
    assessments: Sequence[Assessment | None],
    places: Sequence[int],
    errors: dict[int, Status],
) -> pb.ComputeIndexResponse:
    """Returns the result of each item in the order of the request; `places` are where those computed stand in it."""
    results = {place: pb.ComputeIndexResult(error=status) for place, status in errors.items()}
    for place, item, assessment in zip(places, items_computed, assessments, strict=True):
        results[place] = (
            pb.ComputeIndexResult(error=to_status(undefined(standard, item)))
            if assessment is None
            else pb.ComputeIndexResult(index=index(assessment))
        )
    return pb.ComputeIndexResponse(results=(results[place] for place in range(len(results))))
