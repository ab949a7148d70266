"""Which limits a request counts against, and under whose name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.limits.settings import Settings
from meshkit.identity import PLANS

OWN_LIMITS: Final = "geomesh:limits:"
"""Begins the name of the hash in which the auth service keeps a tenant's own limits."""

CALL: Final = "call"
STREAM: Final = "stream"
BATCH: Final = "batch"
SIGN_IN: Final = "sign_in"
KINDS: Final = (CALL, STREAM, BATCH, SIGN_IN)
"""What the edge calls a request; see `gateway.contract`."""

ADDRESS: Final = "masked_remote_address"
"""What Envoy calls the address of a caller."""

_NO_LIMITS: Final = "geomesh:no-limits"
_COUNTED: Final = "geomesh:counted:"
_HOUR_MS: Final = 3_600_000
_MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests in any stretch of time of a length.

    Attributes:
        name: What is counted, for people: ``calls an hour``.
        field: The same as the tenant's own limits call it; empty where they have none.
        most: How many the plan allows.
        window_ms: The length in milliseconds.
    """

    name: str
    field: str
    most: int
    window_ms: int


@dataclass(frozen=True, slots=True)
class Charge:
    """What one request counts against.

    Attributes:
        own_limits: The Redis key of the tenant's own limits.
        limits: Every limit; all must allow the request.
        counters: The Redis key of each limit's counter.
    """

    own_limits: str
    limits: tuple[Limit, ...]
    counters: tuple[str, ...]


class Plans:
    """The limits of every plan."""

    def __init__(self, settings: Settings) -> None:
        """Takes the figures from the settings."""
        hourly = {
            plan: Limit("calls an hour", "requests_per_hour", getattr(settings, f"{plan}_requests_per_hour"), _HOUR_MS)
            for plan in PLANS
        }
        streams = Limit("streams a minute", "streams_per_minute", settings.streams_per_minute, _MINUTE_MS)
        batches = Limit("batch calls an hour", "batch_calls_per_hour", settings.batch_calls_per_hour, _HOUR_MS)
        sign_ins = Limit("calls an hour without an account", "", settings.sign_ins_per_hour, _HOUR_MS)
        self._issuers = settings.trusted_issuers
        self._limits: dict[tuple[str, str], tuple[Limit, ...]] = {}
        for plan, calls in hourly.items():
            self._limits |= {
                (CALL, plan): (calls,),
                (STREAM, plan): (calls, streams),
                (BATCH, plan): (calls, batches),
                (SIGN_IN, plan): (sign_ins,),
            }

    def charge(self, facts: Mapping[str, str]) -> Charge:
        """Returns what a request counts against.

        Args:
            facts: What the edge says of it: `kind` and the address, and of a caller with a good token `tenant`,
                `subject` and `plan`, or what the token of another issuer says, under names with the issuer's in it.

        Raises:
            ValueError: The edge says too little, so that nobody could be charged.
        """
        kind, address = facts.get("kind", ""), facts.get(ADDRESS, "")
        tenant, subject, plan = self._caller(facts)
        known = bool(tenant and subject) and kind != SIGN_IN
        if kind not in KINDS or not (known or address):
            raise ValueError(f"the edge sends facts that name nobody: {dict(facts)}")
        # A plan that this version does not know gets no more than everyone has.
        limits = self._limits[kind, plan if known and plan in PLANS else PLANS[0]]
        who = f"subject:{tenant}:{subject}" if known else f"address:{address}"
        return Charge(
            own_limits=OWN_LIMITS + tenant if known else _NO_LIMITS,
            limits=limits,
            counters=tuple(f"{_COUNTED}{each.name.replace(' ', '_')}:{who}" for each in limits),
        )

    def _caller(self, facts: Mapping[str, str]) -> tuple[str, str, str]:
        """Returns tenant, subject and plan; what is not known is empty."""
        for issuer in self._issuers:
            subject = facts.get(issuer.subject_key, "")
            tenant = facts.get(issuer.tenant_key, "") if issuer.tenant_claim else issuer.tenants[0]
            # A tenant that it may not speak for is none: each service refuses such a token.
            if subject and tenant in issuer.tenants:
                return tenant, issuer.subject_here(subject), issuer.plan
        return facts.get("tenant", ""), facts.get("subject", ""), facts.get("plan", PLANS[0])
