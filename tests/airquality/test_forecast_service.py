"""GetForecast through a real server and database: by the model, by the simple forecast, and refusals."""

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import numpy as np
import pytest

from airquality.forecast.boosting import Parameters
from airquality.forecast.frame import POLLUTANTS, WEATHER
from airquality.forecast.model import Model
from airquality.forecast.networks import NetworkParameters
from airquality.forecast.registry import Models
from airquality.forecast.training import train
from airquality.forecast_repository import ForecastRepository
from airquality.readings import Readings
from airquality.recorder import Recorder
from airquality.repository import AirQualityRepository
from airquality.stations import Station
from airquality.units import USUAL_UNITS, AveragingPeriod, Pollutant
from geomesh.airquality.v1 import airquality_pb2 as pb
from meshkit.postgres import Postgres
from tests.airquality.conftest import As, Caller, reading, station
from tests.airquality.weather_of_a_city import FIRST_HOUR, city
from tests.refusals import refused_saying

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOURS = 40 * 24
MOMENT = EPOCH + timedelta(hours=FIRST_HOUR + HOURS)


async def refused(call: Awaitable[Any], code: grpc.StatusCode, words: str) -> None:
    """Checks with which code a call ends, and what its message or the fields that it names hold."""
    ended, _, fields, message = await refused_saying(call)
    assert ended == code
    assert words in fields or words in message


async def forecast(caller: Caller, at: datetime = MOMENT, **fields: Any) -> pb.Forecast:
    """Asks for a forecast, by default of the first station of the city when its readings end."""
    if not fields.keys() & {"lat", "station_id"}:
        fields["station_id"] = "city-0"
    request = pb.GetForecastRequest(**fields)
    request.at.FromDatetime(at)
    reply: pb.Forecast = await caller.call("GetForecast", request)
    return reply


async def fill(database: Postgres) -> None:
    """Stores the readings of the city as the operator's."""
    repository, recorder, frame = AirQualityRepository(database), Recorder(database), city(hours=HOURS)
    places = [
        Station(f"city-{name}", "tests", "", "", float(lat), float(lng))
        for name, lat, lng in zip(frame.stations, frame.lat, frame.lng, strict=True)
    ]
    await repository.upsert_stations("public", places)
    numbers = await recorder.find_writable("public", [each.station_id for each in places])
    hours = (FIRST_HOUR + np.arange(HOURS)) * 3_600_000_000
    for quantity, values in frame.values.items():
        size = values.size
        await recorder.store_readings(
            "public",
            Readings(
                station=np.repeat([numbers[each.station_id] for each in places], HOURS),
                pollutant=np.full(size, quantity),
                averaging_period=np.full(size, AveragingPeriod.HOUR),
                unit=np.full(size, USUAL_UNITS[quantity]),
                time=np.tile(hours, len(places)),
                value=values.ravel(),
            ).last_by_key(),
        )


async def trained(database: Postgres) -> Model:
    """Trains a small model on what is stored."""
    frame = await ForecastRepository(database).find_trainable(Pollutant.PM25, (*POLLUTANTS, *WEATHER), None)
    assert frame is not None
    return train(
        frame,
        Pollutant.PM25,
        Parameters(
            rows=3000,
            members=1,
            trees=10,
            leaves=15,
            fewest_in_leaf=20,
            network=NetworkParameters(rows=3000, width=32, steps=200),
        ),
        lambda _words: None,
    )


async def test_the_model_forecasts_after_it_was_trained_stored_and_activated(
    database: Postgres, models: Models, anyone: Caller
) -> None:
    await fill(database)
    repository, model = ForecastRepository(database), await trained(database)
    await repository.add_model("pm25-test", model)
    await models.refresh()
    assert (await forecast(anyone)).method == pb.FORECAST_METHOD_SIMPLE
    assert await repository.activate_model("pm25-test")
    await models.refresh()
    found = await forecast(anyone, hours=96)
    assert (found.method, found.method_reason) == (pb.FORECAST_METHOD_MODEL, "")
    assert found.model.version == "pm25-test"
    assert found.model.station_count == 4
    assert found.model.trained_until_time.ToDatetime(UTC) == MOMENT
    assert len(found.hours) == 96
    assert found.hours[0].start_time.ToDatetime(UTC) == MOMENT
    assert found.unit == pb.UNIT_MICROGRAMS_PER_CUBIC_METER
    for hour in found.hours:
        assert 0 <= hour.lower_95 <= hour.lower_80 <= hour.value <= hour.upper_80 <= hour.upper_95
    first = found.skill[0]
    assert (first.hours_ahead, first.mean_absolute_error) == (1, model.skill[0].mae)
    assert first.skill == pytest.approx(1 - first.mean_absolute_error / first.persistence_error)
    assert [(each.station_id, each.weight) for each in found.contributions] == [("city-0", 1.0)]


async def test_the_same_readings_forecast_the_same_through_the_store_as_from_the_frame(
    database: Postgres, models: Models, anyone: Caller
) -> None:
    await fill(database)
    repository, model = ForecastRepository(database), await trained(database)
    await repository.add_model("pm25-test", model)
    await repository.activate_model("pm25-test")
    await models.refresh()
    expected = model.boosted.forecast(city(hours=HOURS).between(FIRST_HOUR + HOURS - 168, FIRST_HOUR + HOURS))
    values = [hour.value for hour in (await forecast(anyone)).hours]
    np.testing.assert_allclose(values, expected[0, 0, :24], rtol=1e-6)


async def test_later_readings_do_not_change_a_forecast_of_an_earlier_moment(
    database: Postgres, operator: Caller, anyone: Caller
) -> None:
    await fill(database)
    earlier = MOMENT - timedelta(hours=30)
    before = await forecast(anyone, earlier, hours=12)
    late = pb.Reading(station_id="city-0", pollutant=pb.POLLUTANT_PM25, value=90.0)  # not so high that it is excluded
    late.time.FromDatetime(earlier)  # the hour that the moment begins
    await operator.ingest(late)
    assert await forecast(anyone, earlier, hours=13) != before
    assert (await forecast(anyone, earlier, hours=13)).hours[:12] == before.hours


async def test_a_point_between_stations_is_forecast_by_their_weights(
    database: Postgres, models: Models, anyone: Caller
) -> None:
    await fill(database)
    repository = ForecastRepository(database)
    await repository.add_model("pm25-test", await trained(database))
    await repository.activate_model("pm25-test")
    await models.refresh()
    found = await forecast(anyone, lat=40.05, lng=116.05)
    assert found.method == pb.FORECAST_METHOD_MODEL
    assert len(found.contributions) == 4
    assert sum(each.weight for each in found.contributions) == pytest.approx(1.0)
    alone = await forecast(anyone)
    assert found.hours[0].upper_80 / found.hours[0].value > alone.hours[0].upper_80 / alone.hours[0].value


async def test_a_station_that_the_model_has_not_learnt_from_gets_the_simple_forecast(
    database: Postgres, models: Models, acme: Caller
) -> None:
    await fill(database)
    repository = ForecastRepository(database)
    await repository.add_model("pm25-test", await trained(database))
    await repository.activate_model("pm25-test")
    await models.refresh()
    await acme.register(station("mine", 40.02, 116.02))
    readings = [reading(0, 20.0 + hour % 24, "mine") for hour in range(200)]
    for hour, each in enumerate(readings):
        each.time.FromDatetime(MOMENT - timedelta(hours=200 - hour))
    await acme.ingest(*readings)
    found = await forecast(acme, station_id="mine")
    assert found.method == pb.FORECAST_METHOD_SIMPLE
    assert found.method_reason == "the model has not learnt from station mine"
    assert not found.HasField("model")
    assert found.skill[0].mean_absolute_error > 0


async def test_a_model_that_cannot_be_read_leaves_the_one_before_serving(database: Postgres, models: Models) -> None:
    await fill(database)
    repository, model = ForecastRepository(database), await trained(database)
    await repository.add_model("good", model)
    await repository.activate_model("good")
    await models.refresh()
    await repository.add_model("bad", model)
    async with database.transaction() as connection:
        await connection.execute("UPDATE airquality.forecast_models SET artefact = 'x' WHERE version = 'bad'")
    await repository.activate_model("bad")
    await models.refresh()
    served = models.of(Pollutant.PM25)
    assert served is not None
    assert served.version == "good"


async def test_there_is_no_version_that_nobody_stored(database: Postgres) -> None:
    assert not await ForecastRepository(database).activate_model("nothing")


# What is refused


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "station_id"),
        ({"station_id": "a", "lat": 1.0, "lng": 1.0}, "station_id"),
        ({"lat": 1.0}, "lng"),
        ({"lat": float("nan"), "lng": 1.0}, "lat"),
        ({"lat": 91.0, "lng": 1.0}, "lat"),
        ({"station_id": "a", "hours": 0}, "hours"),
        ({"station_id": "a", "hours": 97}, "hours"),
        ({"station_id": "a", "radius_meters": 5.0}, "radius_meters"),
        ({"station_id": "a", "pollutant": pb.POLLUTANT_TEMPERATURE}, "pollutant"),
    ],
)
async def test_refuses_and_names_the_field(anyone: Caller, fields: dict[str, Any], field: str) -> None:
    await refused(anyone.call("GetForecast", pb.GetForecastRequest(**fields)), INVALID, field)


async def test_refuses_a_moment_in_the_future(anyone: Caller) -> None:
    await refused(forecast(anyone, datetime.now(UTC) + timedelta(hours=1)), INVALID, "at")


async def test_an_unknown_station_is_not_found(anyone: Caller) -> None:
    await refused(forecast(anyone, station_id="nowhere"), NOT_FOUND, "no station has the id")


async def test_another_tenants_station_is_not_found(as_tenant: As, acme: Caller) -> None:
    await acme.register(station("mine"))
    await refused(forecast(as_tenant("rival"), station_id="mine"), NOT_FOUND, "no station has the id")


async def test_a_station_that_is_stale_is_not_forecast(database: Postgres, anyone: Caller) -> None:
    await fill(database)
    await refused(forecast(anyone, MOMENT + timedelta(days=31)), NOT_FOUND, "none in the last 24 hours")


async def test_a_point_with_stale_stations_alone_says_since_when(database: Postgres, anyone: Caller) -> None:
    await fill(database)
    await refused(forecast(anyone, MOMENT + timedelta(days=2), lat=40.0, lng=116.0), NOT_FOUND, "last reported at")


@pytest.mark.parametrize(("lat", "lng"), [(0.0, 0.0), (90.0, 0.0), (-20.0, 180.0)])
async def test_a_point_beyond_what_stations_support_is_told_the_nearest(
    database: Postgres, anyone: Caller, lat: float, lng: float
) -> None:
    await fill(database)
    await refused(forecast(anyone, lat=lat, lng=lng), NOT_FOUND, "no station is within 50 km")


async def test_without_any_station_a_point_is_told_so(anyone: Caller) -> None:
    await refused(forecast(anyone, lat=1.0, lng=1.0), NOT_FOUND, "no station is registered at all")
