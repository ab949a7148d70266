"""Protobuf in, protobuf out."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from airquality.archive import Archive, Key
from airquality.computing import compute
from airquality.conditions import CurrentConditions, check_moment
from airquality.convert import forecasting, histories, indexing, replies, requests
from airquality.forecast.forecasts import Forecasts
from airquality.history import microseconds
from airquality.ingest import Ingest, Session
from airquality.settings import Settings
from airquality.standards import all_standards, standard_of
from airquality.stations import Position, Stations
from geomesh.airquality.v1 import airquality_pb2 as pb
from geomesh.airquality.v1.airquality_pb2_grpc import AirQualityServiceServicer
from geomesh.geocoder.v1 import geocoder_pb2
from geomesh.types.v1.types_pb2 import ItemError
from meshkit.batch import partition
from meshkit.cache import Cache
from meshkit.context import current
from meshkit.errors import NotFound, Reason
from meshkit.paging import PageToken

if TYPE_CHECKING:  # only the stub file knows it
    from geomesh.geocoder.v1.geocoder_pb2_grpc import GeocoderServiceAsyncStub

_MOST_ERRORS: Final = 1000


class AirQualityServicer(AirQualityServiceServicer):
    """Serves geomesh.airquality.v1.AirQualityService."""

    def __init__(
        self,
        settings: Settings,
        *,
        stations: Stations,
        ingest: Ingest,
        conditions: CurrentConditions,
        archive: Archive,
        cache: Cache,
        geocoder: "GeocoderServiceAsyncStub",
        forecasts: Forecasts,
    ) -> None:
        self._forecasts = forecasts
        self._forecast_ttl_seconds = settings.forecast_ttl_seconds
        self._ttl_seconds = settings.current_ttl_seconds
        self._skew = timedelta(seconds=settings.allowed_skew_seconds)
        self._stations = stations
        self._ingest = ingest
        self._conditions = conditions
        self._archive = archive
        self._cache = cache
        self._geocoder = geocoder

    async def UpsertStations(self, request: pb.UpsertStationsRequest, _context: object) -> pb.UpsertStationsResponse:
        """Registers stations of the caller's tenant."""
        parts = partition(request.stations)
        if parts.items:
            await self._stations.upsert(current().identity.tenant, [requests.station(each) for each in parts.items])
        return pb.UpsertStationsResponse(accepted_count=len(parts.items), errors=parts.errors)

    async def IngestReadings(
        self, chunks: AsyncIterator[pb.IngestReadingsRequest], _context: object
    ) -> pb.IngestReadingsResponse:
        """Stores a stream of readings."""
        async with self._ingest.session(current().identity.tenant) as session:
            tally = _Tally()
            async for chunk in chunks:
                await self._take(session, tally, chunk.readings)
            return tally.reply(await session.finish())

    async def BatchIngestReadings(
        self, request: pb.BatchIngestReadingsRequest, _context: object
    ) -> pb.IngestReadingsResponse:
        """Stores a batch of readings."""
        async with self._ingest.session(current().identity.tenant) as session:
            tally = _Tally()
            await self._take(session, tally, request.readings)
            return tally.reply(await session.finish())

    async def _take(self, session: Session, tally: "_Tally", readings: Sequence[pb.Reading]) -> None:
        columns = requests.columns(readings)
        good, errors = requests.accepted(
            readings,
            columns,
            await session.numbers_of(columns.station_ids),
            microseconds(datetime.now(UTC) + self._skew),
            offset=tally.total,
            most_errors=_MOST_ERRORS - len(tally.errors),
        )
        await session.add(good)
        tally.count(len(readings), len(good), errors)

    async def ListStations(self, request: pb.ListStationsRequest, _context: object) -> pb.ListStationsResponse:
        """Lists a page of stations with their newest readings."""
        position = PageToken.decode(request.page_token, query=request, types=(float, int))
        found, following = await self._stations.page(
            current().identity.tenant,
            requests.station_filter(request),
            requests.position(Position, position),
            request.page_size,
        )
        return pb.ListStationsResponse(
            stations=[replies.station(*each) for each in found],
            next_page_token=PageToken.encode(following, query=request),
        )

    async def GetStation(self, request: pb.GetStationRequest, _context: object) -> pb.Station:
        """Returns one station with its newest readings."""
        return replies.station(*await self._stations.get(current().identity.tenant, request.station_id))

    async def GetCurrentConditions(  # type: ignore[override]  # the runtime takes a reply that is serialized already
        self, request: pb.GetCurrentConditionsRequest, _context: object
    ) -> bytes:
        """Returns the air at a place, serialized, since that is what the cache holds."""
        key = f"current:{current().identity.tenant}:{request.SerializeToString(deterministic=True).hex()}"

        async def look() -> bytes:
            return (await self._current(request)).SerializeToString()

        return await self._cache.get_or_compute(key, look, ttl_seconds=self._ttl_seconds)

    async def _current(self, request: pb.GetCurrentConditionsRequest) -> pb.CurrentConditions:
        now = datetime.now(UTC)
        at = requests.moment(request.at, "at") if request.HasField("at") else now
        check_moment(at, now + self._skew)
        standard = standard_of(request.index)
        version = requests.version(standard, request.index_version, at, field="at")
        lat, lng, place = await self._place(request)
        found = await self._conditions.at(
            current().identity.tenant,
            lat,
            lng,
            at,
            standard=standard,
            version=version,
            radius_meters=request.radius_meters if request.HasField("radius_meters") else None,
        )
        return replies.conditions(found, place)

    async def _place(self, request: pb.GetCurrentConditionsRequest) -> tuple[float, float, str]:
        """Returns latitude, longitude, and the name that the geocoder gave to `q`."""
        if not request.q:
            return request.lat, request.lng, ""
        found = await self._geocoder.Geocode(geocoder_pb2.GeocodeRequest(q=request.q, limit=1))
        if not found.results:
            raise NotFound(Reason.PLACE_NOT_FOUND, f"no place answers to {request.q!r}")
        best = found.results[0]
        return best.location.lat, best.location.lng, best.place.name

    async def ListReadings(self, request: pb.ListReadingsRequest, _context: object) -> pb.ListReadingsResponse:
        """Lists a page of readings."""
        position = PageToken.decode(request.page_token, query=request, types=(datetime, int, int, int))
        found, following = await self._archive.readings(
            current().identity.tenant,
            requests.place(request),
            requests.reading_filter(request),
            requests.position(Key, position),
            request.page_size,
        )
        return pb.ListReadingsResponse(
            readings=[replies.reading(*each) for each in found],
            next_page_token=PageToken.encode(following, query=request),
        )

    async def GetHistory(self, request: pb.GetHistoryRequest, _context: object) -> pb.History:
        """Returns the history of a station or a place."""
        standard = standard_of(request.index)
        start, end = requests.history_window(request, datetime.now(UTC))
        found, sources = await self._archive.history(
            current().identity.tenant,
            requests.place(request),
            pollutant=request.pollutant or None,
            start=start,
            end=end,
            granularity=requests.granularity(request),
            time_zone=request.time_zone,
            standard=standard,
            version_id=request.index_version,
        )
        return histories.history(found, sources, standard)

    async def ComputeIndex(self, request: pb.ComputeIndexRequest, _context: object) -> pb.ComputeIndexResponse:
        """Computes the index of each item."""
        standard = standard_of(request.index)
        items, places, errors = indexing.items(request, standard, datetime.now(UTC))
        return indexing.response(standard, compute(standard, items), places, errors)

    async def ListIndices(self, _request: pb.ListIndicesRequest, _context: object) -> pb.ListIndicesResponse:
        """Lists the supported indices."""
        return replies.indices(all_standards().values())

    async def GetForecast(  # type: ignore[override]  # the runtime takes a reply that is serialized already
        self, request: pb.GetForecastRequest, _context: object
    ) -> bytes:
        """Returns a forecast, serialized, since that is what the cache holds."""
        tenant, now = current().identity.tenant, datetime.now(UTC)
        asked = forecasting.question(request, now, now + self._skew)

        async def look() -> bytes:
            return forecasting.reply(await forecasting.ask(self._forecasts, tenant, asked), asked).SerializeToString()

        return await self._cache.get_or_compute(asked.key(tenant), look, ttl_seconds=self._forecast_ttl_seconds)


class _Tally:
    """Counts what becomes of the readings of a stream."""

    def __init__(self) -> None:
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
