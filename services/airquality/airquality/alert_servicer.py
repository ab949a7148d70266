"""Protobuf in, protobuf out, for alerts."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from airquality.alerting.feed import Feed
from airquality.alerting.manage import AlertRules
from airquality.convert.alerts import alert_message, definition, delivery_message, rule_message, server_sent
from geomesh.airquality.v1 import alerts_pb2 as pb
from geomesh.airquality.v1.alerts_pb2_grpc import AlertServiceServicer
from meshkit.context import current
from meshkit.errors import InvalidInput, Reason
from meshkit.paging import PageToken

_LAST_EVENT_ID: Final = "last-event-id"


class AlertServicer(AlertServiceServicer):
    """Serves geomesh.airquality.v1.AlertService."""

    def __init__(self, rules: AlertRules, feed: Feed, *, max_gap_seconds: float) -> None:
        self._rules = rules
        self._feed = feed
        self._max_gap = timedelta(seconds=max_gap_seconds)

    async def CreateAlertRule(self, request: pb.CreateAlertRuleRequest, _context: object) -> pb.AlertRuleWithSecret:
        """Makes a rule."""
        rule, secret = await self._rules.create(_tenant(), definition(request.rule, self._max_gap))
        return pb.AlertRuleWithSecret(rule=rule_message(rule), webhook_secret=secret)

    async def GetAlertRule(self, request: pb.GetAlertRuleRequest, _context: object) -> pb.AlertRule:
        """Returns a rule."""
        return rule_message(await self._rules.get(_tenant(), request.rule_id))

    async def ListAlertRules(self, request: pb.ListAlertRulesRequest, _context: object) -> pb.ListAlertRulesResponse:
        """Lists a page of rules."""
        position = PageToken.decode(request.page_token, query=request, types=(datetime, str))
        after = None if position is None else (position[0], _uuid(position[1]))
        rules, following = await self._rules.page(_tenant(), after, request.page_size)
        return pb.ListAlertRulesResponse(
            rules=map(rule_message, rules), next_page_token=PageToken.encode(following, query=request)
        )

    async def UpdateAlertRule(self, request: pb.UpdateAlertRuleRequest, _context: object) -> pb.AlertRuleWithSecret:
        """Replaces a rule."""
        rule, secret = await self._rules.update(_tenant(), request.rule_id, definition(request.rule, self._max_gap))
        return pb.AlertRuleWithSecret(rule=rule_message(rule), webhook_secret=secret)

    async def DeleteAlertRule(self, request: pb.DeleteAlertRuleRequest, _context: object) -> Empty:
        """Deletes a rule."""
        await self._rules.delete(_tenant(), request.rule_id)
        return Empty()

    async def RotateWebhookSecret(
        self, request: pb.RotateWebhookSecretRequest, _context: object
    ) -> pb.AlertRuleWithSecret:
        """Makes a new secret."""
        rule, secret = await self._rules.rotate(_tenant(), request.rule_id)
        return pb.AlertRuleWithSecret(rule=rule_message(rule), webhook_secret=secret)

    async def ListAlerts(self, request: pb.ListAlertsRequest, _context: object) -> pb.ListAlertsResponse:
        """Lists a page of alerts."""
        position = PageToken.decode(request.page_token, query=request, types=(int,))
        alerts, following = await self._rules.alerts(
            _tenant(), request.rule_id, request.kind, _number(position), request.page_size
        )
        return pb.ListAlertsResponse(
            alerts=map(alert_message, alerts), next_page_token=PageToken.encode(following, query=request)
        )

    async def WatchAlerts(
        self, request: pb.WatchAlertsRequest, _context: object
    ) -> AsyncGenerator[pb.WatchAlertsResponse, None]:
        """Sends alerts as they are raised."""
        async with aclosing(self._watch(request, request.after_alert_id)) as messages:
            async for message in messages:
                yield message

    async def WatchAlertsEvents(
        self, request: pb.WatchAlertsRequest, _context: object
    ) -> AsyncGenerator[HttpBody, None]:
        """Does the same as server-sent events."""
        async with aclosing(self._watch(request, _seen() or request.after_alert_id)) as messages:
            async for message in messages:
                yield server_sent(message)

    async def _watch(
        self, request: pb.WatchAlertsRequest, after_alert_id: str
    ) -> AsyncGenerator[pb.WatchAlertsResponse, None]:
        tenant = _tenant()
        after = await self._rules.number(tenant, after_alert_id) if after_alert_id else None
        async with aclosing(self._feed.follow(tenant, after, request.rule_id)) as alerts:
            async for alert in alerts:
                if alert is None:
                    now = Timestamp()
                    now.GetCurrentTime()
                    yield pb.WatchAlertsResponse(heartbeat=now)
                else:
                    yield pb.WatchAlertsResponse(alert=alert_message(alert))

    async def ListAlertDeliveries(
        self, request: pb.ListAlertDeliveriesRequest, _context: object
    ) -> pb.ListAlertDeliveriesResponse:
        """Lists a page of deliveries."""
        position = PageToken.decode(request.page_token, query=request, types=(int,))
        found, following = await self._rules.deliveries(_tenant(), request.state, _number(position), request.page_size)
        return pb.ListAlertDeliveriesResponse(
            deliveries=map(delivery_message, found), next_page_token=PageToken.encode(following, query=request)
        )

    async def ReplayAlertDelivery(self, request: pb.ReplayAlertDeliveryRequest, _context: object) -> pb.AlertDelivery:
        """Posts a delivery once more."""
        return delivery_message(await self._rules.replay(_tenant(), request.alert_id))


def _tenant() -> str:
    return current().identity.tenant


def _seen() -> str:
    """Returns the alert that a browser names when it begins a stream again, "" where it names none."""
    header = current().text(_LAST_EVENT_ID)
    try:
        return str(UUID(header)) if header else ""
    except ValueError:
        raise InvalidInput(_LAST_EVENT_ID, "must be the id of an alert") from None


def _number(position: tuple[Any, ...] | None) -> int | None:
    return None if position is None else int(position[0])


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise InvalidInput("page_token", "is not ours", reason=Reason.INVALID_PAGE_TOKEN) from None
