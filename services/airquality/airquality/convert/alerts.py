"""Between the messages of alerts.proto and the domain's values."""

import json
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from airquality.alerting.definition import (
    AtStation,
    Box,
    Circle,
    Definition,
    Measure,
    Place,
    Polygon,
    Rule,
    Severity,
)
from airquality.alerting.manage import Alert, Delivery
from airquality.alerting.quiet import QuietHours
from airquality.alerting.rules import Condition, Direction
from airquality.standards import standard_of
from geomesh.airquality.v1 import alerts_pb2 as pb
from meshkit.errors import InvalidInput


def definition(rule: pb.AlertRule, max_gap: timedelta) -> Definition:
    """Returns what a rule says.

    Raises:
        InvalidInput: The index or the time zone is unknown, or the quiet hours are empty.
    """
    measure = Measure(rule.measure or Measure.INDEX)
    index = ""
    if measure is Measure.INDEX:
        try:
            index = standard_of(rule.index).index
        except InvalidInput as error:
            raise InvalidInput("rule.index", error.violations[0].description) from None
    return Definition(
        name=rule.name,
        place=_place(rule),
        measure=measure,
        index=index,
        pollutant=rule.pollutant,
        horizon_hours=rule.horizon_hours,
        severity=Severity(rule.severity or Severity.WARNING),
        include_flagged=rule.include_flagged,
        paused=rule.paused,
        webhook_url=rule.webhook_url,
        condition=Condition(
            threshold=rule.threshold,
            direction=Direction(rule.direction or Direction.ABOVE),
            hysteresis=rule.hysteresis,
            min_duration=rule.min_duration.ToTimedelta(),
            cool_down=rule.cool_down.ToTimedelta(),
            max_gap=max_gap,
            quiet=_quiet(rule.quiet_hours) if rule.HasField("quiet_hours") else None,
        ),
    )


def rule_message(rule: Rule) -> pb.AlertRule:
    """Returns a rule as its owner sees it."""
    said, condition, state = rule.definition, rule.definition.condition, rule.state
    message = pb.AlertRule(
        rule_id=rule.rule_id,
        name=said.name,
        measure=pb.AlertMeasure.ValueType(said.measure),
        index=said.index,
        pollutant=said.pollutant,  # type: ignore[arg-type]  # a code of the enum
        horizon_hours=said.horizon_hours,
        threshold=condition.threshold,
        direction=pb.AlertDirection.ValueType(condition.direction),
        hysteresis=condition.hysteresis,
        min_duration=_duration(condition.min_duration),
        cool_down=_duration(condition.cool_down),
        severity=pb.AlertSeverity.ValueType(said.severity),
        include_flagged=said.include_flagged,
        paused=said.paused,
        webhook_url=said.webhook_url,
        create_time=_stamp(rule.created_at),
        update_time=_stamp(rule.updated_at),
    )
    _set_place(message, said.place)
    if quiet := condition.quiet:
        message.quiet_hours.start, message.quiet_hours.end = f"{quiet.start:%H:%M}", f"{quiet.end:%H:%M}"
        message.quiet_hours.time_zone = quiet.time_zone
    if state.last is not None:
        message.state.status = pb.AlertStatus.ValueType(state.status)
        message.state.value_time.CopyFrom(_stamp(state.last))
        if state.value is not None:
            message.state.value = state.value
        if state.since is not None:
            message.state.since_time.CopyFrom(_stamp(state.since))
    return message


def alert_message(alert: Alert) -> pb.Alert:
    """Returns an alert."""
    body = alert.body
    return pb.Alert(
        alert_id=body["alert_id"],
        rule_id=body["rule_id"],
        rule_name=body["rule_name"],
        kind=pb.AlertKind.ValueType(alert.kind),
        severity=pb.AlertSeverity.ValueType(alert.severity),
        time=_stamp(datetime.fromisoformat(body["time"])),
        since_time=_stamp(datetime.fromisoformat(body["since_time"])),
        value=body["value"],
        threshold=body["threshold"],
        station_ids=body["station_ids"],
        create_time=_stamp(datetime.fromisoformat(body["create_time"])),
    )


def delivery_message(delivery: Delivery) -> pb.AlertDelivery:
    """Returns a delivery."""
    state = pb.AlertDeliveryState.ValueType(delivery.state)
    waits = state == pb.ALERT_DELIVERY_STATE_PENDING
    return pb.AlertDelivery(
        alert=alert_message(delivery.alert),
        state=state,
        attempt_count=delivery.attempts,
        next_attempt_time=_stamp(delivery.next_attempt_at) if waits else None,
        problem=delivery.problem,
    )


def _place(rule: pb.AlertRule) -> Place:
    match rule.WhichOneof("place"):
        case "circle":
            return Circle(rule.circle.center.lat, rule.circle.center.lng, rule.circle.radius_meters)
        case "bbox":
            return Box(rule.bbox.west, rule.bbox.east, rule.bbox.south, rule.bbox.north)
        case "polygon":
            return Polygon(rule.polygon.type, MessageToDict(rule.polygon.coordinates))
    return AtStation(rule.station_id)


def _set_place(message: pb.AlertRule, place: Place) -> None:
    match place:
        case AtStation(station_id):
            message.station_id = station_id
        case Circle(lat, lng, radius_meters):
            message.circle.center.lat, message.circle.center.lng = lat, lng
            message.circle.radius_meters = radius_meters
        case Box(west, east, south, north):
            message.bbox.west, message.bbox.east, message.bbox.south, message.bbox.north = west, east, south, north
        case Polygon(kind, coordinates):
            message.polygon.type = kind
            message.polygon.coordinates.extend(coordinates)


def _quiet(hours: pb.QuietHours) -> QuietHours:
    try:
        ZoneInfo(hours.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput("rule.quiet_hours.time_zone", "must be an IANA time zone such as Europe/Berlin") from None
    if hours.start == hours.end:
        raise InvalidInput("rule.quiet_hours.end", "must not be the same as start")
    return QuietHours(time.fromisoformat(hours.start), time.fromisoformat(hours.end), hours.time_zone)


def _stamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def _duration(span: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(span)
    return message


def server_sent(message: pb.WatchAlertsResponse) -> HttpBody:
    """Returns a message of a stream as a server-sent event (WHATWG HTML, section 9.2)."""
    fields = MessageToDict(message, always_print_fields_with_no_presence=True)  # as the edge prints replies
    data = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    head = f"id: {message.alert.alert_id}\nevent: alert" if message.HasField("alert") else "event: heartbeat"
    return HttpBody(content_type="text/event-stream", data=f"{head}\ndata: {data}\n\n".encode())
