"""Protobuf in, protobuf out."""

from geocoder import convert
from geocoder.geocoding import Geocoder
from geocoder.repository import GazetteerRepository
from geocoder.reversing import ReverseGeocoder
from geocoder.searching import Searcher
from geocoder.settings import Settings
from geomesh.geocoder.v1 import geocoder_pb2 as pb
from geomesh.geocoder.v1.geocoder_pb2_grpc import GeocoderServiceServicer
from meshkit.batch import partition
from meshkit.cache import Cache
from meshkit.errors import MeshError
from meshkit.paging import PageToken
from meshkit.status import to_status


class GeocoderServicer(GeocoderServiceServicer):
    """Serves geomesh.geocoder.v1.GeocoderService."""

    def __init__(self, settings: Settings, gazetteer: GazetteerRepository, cache: Cache) -> None:
        self._gazetteer = gazetteer
        self._geocoder = Geocoder(gazetteer, settings.batch_concurrency)
        self._searcher = Searcher(gazetteer)
        self._reverse_geocoder = ReverseGeocoder(gazetteer)
        self._cache = cache
        self._cache_seconds = settings.cache_seconds

    async def Geocode(self, request: pb.GeocodeRequest, _context: object) -> pb.GeocodeResponse:
        """Finds places by an address or a name."""

        async def compute() -> bytes:
            return convert.geocoded(await self._geocoder.geocode(convert.query(request))).SerializeToString()

        version = await self._gazetteer.version()
        key = f"geocode:{version}:{request.SerializeToString(deterministic=True).hex()}"
        return pb.GeocodeResponse.FromString(
            await self._cache.get_or_compute(key, compute, ttl_seconds=self._cache_seconds)
        )

    async def ReverseGeocode(self, request: pb.ReverseGeocodeRequest, _context: object) -> pb.ReverseGeocodeResponse:
        """Names a point."""
        return convert.named(await self._reverse_geocoder.name(convert.point(request)))

    async def SearchPlaces(self, request: pb.SearchPlacesRequest, _context: object) -> pb.SearchPlacesResponse:
        """Finds places whose name is spelled like the text."""
        offset = convert.page_offset(PageToken.decode(request.page_token, query=request, types=(int,)))
        page = await self._searcher.search(convert.search(request, offset))
        following = (offset + len(page.matches),) if page.has_more else None
        return convert.searched(page.matches, PageToken.encode(following, query=request))

    async def Autocomplete(self, request: pb.AutocompleteRequest, _context: object) -> pb.AutocompleteResponse:
        """Completes a name while it is typed."""
        return convert.completed(await self._searcher.complete(convert.beginning(request)))

    async def GetPlace(self, request: pb.GetPlaceRequest, _context: object) -> pb.Place:
        """Returns one place with all its names."""
        # First of all: without a gazetteer it is not known whether there is such a place.
        directory = await self._gazetteer.directory()
        found = await self._gazetteer.find_place(request.place_id, request.language)
        translations = await self._gazetteer.translations(request.language)
        return convert.place_in_full(found, directory.hierarchy(found.place, translations))

    async def BatchGeocode(self, request: pb.BatchGeocodeRequest, _context: object) -> pb.BatchGeocodeResponse:
        """Geocodes many at once."""
        good = partition(request.requests)
        results = [pb.BatchGeocodeResult() for _ in request.requests]
        for refused in good.errors:
            results[refused.index].error.CopyFrom(refused.status)
        outcomes = await self._geocoder.geocode_many([convert.query(item) for item in good.items])
        for index, outcome in zip(good.indices, outcomes, strict=True):
            if isinstance(outcome, MeshError):
                results[index].error.CopyFrom(to_status(outcome))
            else:
                results[index].response.CopyFrom(convert.geocoded(outcome))
        return pb.BatchGeocodeResponse(results=results)
