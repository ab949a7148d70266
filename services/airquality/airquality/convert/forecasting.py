"""Forecasts from and to protobuf messages."""

import math
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from airquality.convert.replies import station, timestamp
from airquality.convert.requests import moment
from airquality.forecast.forecasts import DEFAULT_HOURS, Forecast, Forecasts, check_moment
from airquality.forecast.registry import Served
from airquality.forecast.skill import CLIMATOLOGY, DAILY, PERSISTENCE, HorizonSkill
from airquality.units import USUAL_UNITS, Pollutant
from geomesh.airquality.v1 import airquality_pb2 as pb
from geomesh.types.v1.types_pb2 import Location

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Question(NamedTuple):
    """What is asked; `point` is latitude, longitude and radius in metres where no station is."""

    station_id: str
    point: tuple[float, float, float | None]
    target: Pollutant
    at: datetime
    hours: int

    def key(self, tenant: str) -> str:
        """Returns what the reply is cached under: it changes with the hour, not with the moment."""
        hour = int(self.at.timestamp() // 3600)
        return f"forecast:{tenant}:{self.station_id.encode().hex()}:{self.point}:{self.target}:{hour}:{self.hours}"


def question(request: pb.GetForecastRequest, now: datetime, latest: datetime) -> Question:
    """Returns what is asked, at the start of the hour of the moment asked about.

    Raises:
        InvalidInput: The moment is none, or later than `latest`.
    """
    at = moment(request.at, "at") if request.HasField("at") else now
    check_moment(at, latest)
    return Question(
        request.station_id,
        (request.lat, request.lng, request.radius_meters if request.HasField("radius_meters") else None),
        Pollutant(request.pollutant or Pollutant.PM25),
        at.replace(minute=0, second=0, microsecond=0),
        request.hours if request.HasField("hours") else DEFAULT_HOURS,
    )


async def ask(forecasts: Forecasts, tenant: str, asked: Question) -> Forecast:
    """Asks for the forecast of a station or of a place."""
    if asked.station_id:
        return await forecasts.of_station(tenant, asked.station_id, asked.target, asked.at, asked.hours)
    lat, lng, radius = asked.point
    return await forecasts.of_point(tenant, lat, lng, asked.target, asked.at, asked.hours, radius)


def reply(found: Forecast, asked: Question) -> pb.Forecast:
    """Returns a forecast."""
    lower_95, lower_80, upper_80, upper_95 = found.bounds.tolist()
    rows = zip(found.medians.tolist(), lower_80, upper_80, lower_95, upper_95, strict=True)
    return pb.Forecast(
        location=Location(lat=found.lat, lng=found.lng),
        time=timestamp(asked.at),
        pollutant=pb.Pollutant.ValueType(found.target),
        unit=pb.Unit.ValueType(USUAL_UNITS[found.target]),
        hours=[
            pb.ForecastHour(
                start_time=timestamp(_time(found.first_hour + place)),
                value=row[0],
                lower_80=row[1],
                upper_80=row[2],
                lower_95=row[3],
                upper_95=row[4],
            )
            for place, row in enumerate(rows)
        ],
        method=pb.ForecastMethod.ValueType(found.method),
        method_reason=found.reason,
        model=None if found.served is None else _model(found.served),
        skill=_skill(found),
        contributions=[
            pb.ForecastContribution(
                station_id=part.station.station_id,
                weight=part.weight,
                newest_time=timestamp(_time(part.newest_hour)),
                distance_meters=part.station.distance_meters or 0.0,
            )
            for part in found.parts
        ],
        stations=[station(part.station) for part in found.parts],
    )


def _model(served: Served) -> pb.ForecastModel:
    return pb.ForecastModel(
        version=served.version,
        trained_from_time=timestamp(_time(served.model.trained_hours[0])),
        trained_until_time=timestamp(_time(served.model.trained_hours[1])),
        held_back_from_time=timestamp(_time(served.model.held_back_hours[0])),
        station_count=len(served.model.stations),
    )


def _skill(found: Forecast) -> list[pb.ForecastSkill]:
    if found.served is not None:
        return [_measured(each) for each in found.served.model.skill if each.horizon <= len(found.medians)]
    return [
        pb.ForecastSkill(hours_ahead=place + 1, mean_absolute_error=error)
        for place, error in enumerate(found.errors.tolist())
        if not math.isnan(error)
    ]


def _measured(each: HorizonSkill) -> pb.ForecastSkill:
    return pb.ForecastSkill(
        hours_ahead=each.horizon,
        mean_absolute_error=each.mae,
        bias=each.bias,
        coverage_80=None if math.isnan(each.coverage_80) else each.coverage_80,
        coverage_95=None if math.isnan(each.coverage_95) else each.coverage_95,
        persistence_error=each.baselines[PERSISTENCE],
        daily_persistence_error=each.baselines[DAILY],
        climatology_error=each.baselines[CLIMATOLOGY],
        skill=each.skill,
        forecast_count=each.count,
    )


def _time(hour: int) -> datetime:
    return _EPOCH + timedelta(hours=hour)
