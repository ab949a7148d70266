"""Between administration and its messages."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from auth.audit import SUCCESS, AuditEvent
from auth.audit_reading import Verdict, Wanted
from auth.directory import Limits, Tenant, User
from geomesh.auth.v1 import admin_pb2 as pb


def limits_of(message: pb.TenantLimits) -> Limits:
    """Returns the limits that a request gives."""
    given = {field.name: value for field, value in message.ListFields()}
    return Limits(**given)


def tenant(found: Tenant) -> pb.Tenant:
    """Returns a tenant."""
    limits = {name: getattr(found.limits, name) for name in Limits.__dataclass_fields__}
    return pb.Tenant(
        tenant_id=found.id,
        display_name=found.display_name,
        plan=found.plan,
        status=_status(suspended=found.is_suspended),
        limits=pb.TenantLimits(**{name: value for name, value in limits.items() if value is not None}),
        create_time=_timestamp(found.created_at),
    )


def user(found: User) -> pb.User:
    """Returns a user."""
    return pb.User(
        user_id=found.id,
        email=found.email,
        tenant_id=found.tenant,
        roles=found.roles,
        plan=found.plan,
        status=_status(suspended=found.is_suspended),
        totp_enabled=found.has_totp,
        create_time=_timestamp(found.created_at),
    )


def wanted(request: pb.ListAuditEventsRequest) -> Wanted:
    """Returns which events a request asks for."""
    start = request.start_time.ToDatetime(UTC) if request.HasField("start_time") else None
    end = request.end_time.ToDatetime(UTC) if request.HasField("end_time") else None
    return Wanted(request.event or None, request.subject or None, start, end)


def audit_event(event: AuditEvent) -> pb.AuditEvent:
    """Returns an event."""
    return pb.AuditEvent(
        tenant_id=event.tenant,
        sequence=event.sequence,
        time=_timestamp(event.occurred_at),
        event=event.event,
        outcome=pb.AUDIT_OUTCOME_SUCCESS if event.outcome == SUCCESS else pb.AUDIT_OUTCOME_REFUSED,
        subject=event.subject,
        actor=event.actor,
        address=event.address,
        request_id=event.request_id,
        details=event.details,
        previous_hash=event.previous_hash,
        hash=event.hash,
    )


def verdict(found: Verdict) -> pb.VerifyAuditLogResponse:
    """Returns what a verification found."""
    return pb.VerifyAuditLogResponse(
        intact=not found.broken_sequence,
        head_sequence=found.head.sequence,
        head_hash=found.head.hash,
        broken_sequence=found.broken_sequence,
        problem=found.problem,
        complete=found.complete and not found.broken_sequence,
    )


def _status(*, suspended: bool) -> "pb.AccountStatus.ValueType":
    return pb.ACCOUNT_STATUS_SUSPENDED if suspended else pb.ACCOUNT_STATUS_ACTIVE


def _timestamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
