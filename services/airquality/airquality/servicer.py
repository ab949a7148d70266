"""Protobuf in, protobuf out."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from google.api.httpbody_pb2 import HttpBody

from airquality.archive import Archive, CorrectionKey, Key, Place
from airquality.computing import compute
from airquality.conditions import CurrentConditions, Question, check_moment, explain_no_index
from airquality.convert import (
    forecasting,
    histories,
    indexing,
    indices,
    replies,
    requests,
    tiles,
)
from airquality.convert.tally import Tally
from airquality.forecast.forecasts import Forecasts
from airquality.hot import Replies
from airquality.ingest import Ingest, Session
from airquality.intervals import microseconds
from airquality.live.watching import Watching
from airquality.mapping import Maps
from airquality.readings import EARLIEST_SECONDS, MICROSECONDS, Taken
from airquality.settings import Settings
from airquality.standards import all_standards, standard_of
from airquality.stations import Position, Stations
from airquality.watching_servicer import WatchingServicer
from geomesh.airquality.v1 import airquality_pb2 as pb
from geomesh.geocoder.v1 import geocoder_pb2
from meshkit.batch import partition
from meshkit.cache import Cache
from meshkit.context import current
from meshkit.errors import NotFound, Reason
from meshkit.identity import PUBLIC_TENANT
from meshkit.paging import PageToken

if TYPE_CHECKING:  # only the stub file knows it
    from grpc.aio import ServicerContext

    from geomesh.geocoder.v1.geocoder_pb2_grpc import GeocoderServiceAsyncStub

    Context = ServicerContext[pb.GetTileRequest, HttpBody]

_MOST_ERRORS: Final = 1000


class AirQualityServicer(WatchingServicer):
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
        replies: Replies,
        maps: Maps,
        geocoder: "GeocoderServiceAsyncStub",
        watching: Watching,
        forecasts: Forecasts,
    ) -> None:
        super().__init__(watching, settings.watch_max_age_seconds)
        self._settings = settings
        self._forecasts = forecasts
        self._forecast_ttl_seconds = settings.forecast_ttl_seconds
        self._ttl_seconds = settings.current_ttl_seconds
        self._skew = timedelta(seconds=settings.allowed_skew_seconds)
        self._kept = timedelta(days=settings.readings_retention_days) if settings.readings_retention_days else None
        self._stations = stations
        self._ingest = ingest
        self._conditions = conditions
        self._archive = archive
        self._cache = cache
        self._replies = replies
        self._maps = maps
        self._geocoder = geocoder

    async def UpsertStations(self, request: pb.UpsertStationsRequest, _context: object) -> pb.UpsertStationsResponse:
        """Registers stations of the caller's tenant."""
        tenant, candidates = current().identity.tenant, partition(request.stations).items
        rule = await self._stations.rule(tenant, [requests.station(each) for each in candidates])
        parts = partition(request.stations, lambda each: rule(requests.station(each)))
        if parts.items:
            await self._stations.upsert(tenant, [requests.station(each) for each in parts.items])
        return pb.UpsertStationsResponse(accepted_count=len(parts.items), errors=parts.errors)

    async def IngestReadings(
        self, chunks: AsyncIterator[pb.IngestReadingsRequest], _context: object
    ) -> pb.IngestReadingsResponse:
        """Stores a stream of readings."""
        async with self._ingest.session(current().identity.tenant) as session:
            tally = Tally()
            async for chunk in chunks:
                await self._take(session, tally, chunk.readings)
            return tally.reply(await session.finish())

    async def BatchIngestReadings(
        self, request: pb.BatchIngestReadingsRequest, _context: object
    ) -> pb.IngestReadingsResponse:
        """Stores a batch of readings."""
        async with self._ingest.session(current().identity.tenant) as session:
            tally = Tally()
            await self._take(session, tally, request.readings)
            return tally.reply(await session.finish())

    async def _take(self, session: Session, tally: Tally, readings: Sequence[pb.Reading]) -> None:
        columns = requests.columns(readings)
        good, errors = requests.accepted(
            readings,
            columns,
            await session.numbers_of(columns.station_ids),
            self._taken(),
            offset=tally.total,
            most_errors=_MOST_ERRORS - len(tally.errors),
        )
        await session.add(good)
        tally.count(len(readings), len(good), errors)

    def _taken(self) -> Taken:
        """Returns which times are taken now."""
        now, beginning = datetime.now(UTC), EARLIEST_SECONDS * MICROSECONDS
        earliest = beginning if self._kept is None else max(beginning, microseconds(now - self._kept))
        return Taken(microseconds(now + self._skew), earliest)

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
        tenant = current().identity.tenant
        key = f"current:{tenant}:{request.SerializeToString(deterministic=True).hex()}"

        async def look() -> bytes:
            return (await self._current(request, tenant)).SerializeToString()

        def look_at_once() -> bytes | None:
            found = self._now(request, tenant)
            return None if found is None else found.SerializeToString()

        if request.q or request.HasField("at"):  # a name is resolved with its caller's token, the past does not cool
            return await self._cache.get_or_compute(key, look, ttl_seconds=self._ttl_seconds)
        return await self._replies.get("current", key, look, self._ttl_seconds, look_at_once)

    def _asked(self, request: pb.GetCurrentConditionsRequest, tenant: str) -> Question:
        """Returns what is asked, as yet of the point in the request."""
        now = datetime.now(UTC)
        is_now = not request.HasField("at")
        at = now if is_now else requests.moment(request.at, "at")
        check_moment(at, now + self._skew)
        standard = standard_of(request.index)
        version = requests.version(standard, request.index_version, at, field="at")
        radius_meters = request.radius_meters if request.HasField("radius_meters") else None
        return Question(tenant, request.lat, request.lng, at, standard, version, radius_meters, is_now)

    def _now(self, request: pb.GetCurrentConditionsRequest, tenant: str) -> pb.CurrentConditions | None:
        """Returns the present at a point from what the process holds, or None where that does not tell."""
        found = self._conditions.now(self._asked(request, tenant))
        if found is None or (request.index and found.assessment is None):
            return None
        return replies.conditions(found, "")

    async def _current(self, request: pb.GetCurrentConditionsRequest, tenant: str) -> pb.CurrentConditions:
        asked = self._asked(request, tenant)
        lat, lng, place = await self._place(request)
        found = await self._conditions.at(asked._replace(lat=lat, lng=lng))
        if request.index and found.assessment is None:
            why = explain_no_index(asked.standard, asked.version, found.pollutants)
            raise NotFound(Reason.NO_DATA_NEARBY, why)
        return replies.conditions(found, place)

    async def GetTile(self, request: pb.GetTileRequest, context: "Context") -> HttpBody:
        """Returns a tile, or nothing but its tag to who has it."""
        tenant, now = current().identity.tenant, datetime.now(UTC)
        tile, kind = tiles.tile(request)
        view = tiles.view(request, now, now + self._skew, self._settings.current_radius_meters)
        draw = self._maps.heat if kind == "png" else self._maps.vector
        ttl_seconds = self._settings.tile_ttl_seconds if view.is_now else self._settings.history_ttl_seconds
        key = f"tile:{tenant}:{request.SerializeToString(deterministic=True).hex()}"

        async def make() -> bytes:
            return await draw(tenant, tile, view._replace(at=datetime.now(UTC)) if view.is_now else view)

        content = await self._replies.get(kind, key, make, ttl_seconds)
        headers, body = tiles.reply(
            content,
            kind,
            current().text("if-none-match"),
            ttl_seconds=ttl_seconds,
            everyones=tenant == PUBLIC_TENANT,
        )
        await context.send_initial_metadata(headers)
        return body

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
            readings=[replies.reading(*each, request.sensor_id) for each in found],
            next_page_token=PageToken.encode(following, query=request),
        )

    async def GetHistory(  # type: ignore[override]  # the runtime takes a reply that is serialized already
        self, request: pb.GetHistoryRequest, _context: object
    ) -> bytes:
        """Returns the history of a station or a place, serialized, since it is made of arrays and not of messages."""
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
            profiles=request.profiles,
        )
        return histories.history(found, sources, standard)

    async def ListCorrections(self, request: pb.ListCorrectionsRequest, _context: object) -> pb.ListCorrectionsResponse:
        """Lists a page of what readings said before."""
        position = PageToken.decode(request.page_token, query=request, types=(datetime, datetime, int, int))
        station, found, following = await self._archive.corrections(
            current().identity.tenant,
            Place(request.station_id, request.sensor_id),
            requests.reading_filter(request),
            requests.position(CorrectionKey, position),
            request.page_size,
        )
        return pb.ListCorrectionsResponse(
            corrections=[replies.correction(station, each, request.sensor_id) for each in found],
            next_page_token=PageToken.encode(following, query=request),
        )

    async def ComputeIndex(self, request: pb.ComputeIndexRequest, _context: object) -> pb.ComputeIndexResponse:
        """Computes the index of each item."""
        standard = standard_of(request.index)
        items, places, errors = indexing.items(request, standard, datetime.now(UTC))
        return indexing.response(standard, items, compute(standard, items), places, errors)

    async def ListIndices(self, _request: pb.ListIndicesRequest, _context: object) -> pb.ListIndicesResponse:
        """Lists the supported indices."""
        return indices.indices(all_standards().values())

    async def GetForecast(  # type: ignore[override]  # the runtime takes a reply that is serialized already
        self, request: pb.GetForecastRequest, _context: object
    ) -> bytes:
        """Returns a forecast, serialized, since that is what the cache holds."""
        tenant, now = current().identity.tenant, datetime.now(UTC)
        asked = forecasting.question(request, now, now + self._skew)

        async def look() -> bytes:
            return forecasting.reply(await forecasting.ask(self._forecasts, tenant, asked), asked).SerializeToString()

        return await self._cache.get_or_compute(asked.key(tenant), look, ttl_seconds=self._forecast_ttl_seconds)
