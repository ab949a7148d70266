"""The settings of the air-quality service."""

from ipaddress import IPv4Network, IPv6Network
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import Field, SecretStr, field_validator

from meshkit.settings import ServiceSettings

_KEY_BYTES: Final = 32
_LEAST_CHARACTERS: Final = 32
_LEAST_DISTINCT_CHARACTERS: Final = 8


class Settings(ServiceSettings, service="airquality"):
    """What can be set from outside, beside what every service has."""

    geocoder_address: str = Field("127.0.0.1:50051", description="gRPC address of the geocoder, which resolves `q`.")
    max_age_seconds: float = Field(
        10_800.0, gt=0, le=86_400, description="Time in seconds after its end for which a reading stands for the air."
    )
    current_radius_meters: float = Field(
        50_000.0,
        gt=0,
        le=100_000,
        description="Distance in metres that the nearest station may be off for a place to be answered.",
    )
    current_ttl_seconds: int = Field(300, ge=0, description="Time in seconds that current conditions are cached.")
    allowed_skew_seconds: float = Field(
        300.0, ge=0, le=3600, description="How far in seconds the clock of who sends readings may be ahead."
    )
    transaction_rows: int = Field(
        20_000, ge=1, le=1_000_000, description="Readings of one stream that are stored in one transaction at most."
    )
    readings_retention_days: int = Field(
        0,
        ge=0,
        description=(
            "Days for which readings are kept, then `python -m airquality.retention` drops their month and older ones"
            " are refused; 0 keeps them for ever. History outlives them."
        ),
    )
    history_retention_days: int = Field(
        0,
        ge=0,
        description="Days for which the hours that history is made of are kept, by year; 0 keeps them for ever.",
    )
    alerts_retention_days: int = Field(
        0,
        ge=0,
        description=(
            "Days for which alerts and their deliveries are kept, dead letters too, but none that is still tried; then"
            " `python -m airquality.retention` deletes them. 0 keeps them for ever."
        ),
    )
    watch_heartbeat_seconds: float = Field(
        30.0,
        gt=0,
        le=50,
        description="Time in seconds without a message after which a subscriber gets a sign of life; the edge ends a"
        " stream that is silent for a minute.",
    )
    watch_subscriptions: int = Field(
        20_000, ge=1, description="Subscriptions that a process holds at most; more are refused with OVERLOADED."
    )
    watch_waiting_updates: int = Field(
        64, ge=1, le=10_000, description="Updates that wait for one subscriber before a snapshot takes their place."
    )
    watch_stall_seconds: float = Field(
        60.0, gt=0, le=3600, description="Time in seconds after which a subscriber that takes nothing is ended."
    )
    watch_stations: int = Field(5_000, ge=1, le=20_000, description="Stations that one subscriber may watch.")
    watch_max_age_seconds: float = Field(
        93_600.0,
        gt=0,
        description="How long in seconds before it was stored a reading may have begun to be told, unless asked for.",
    )
    event_keep_seconds: float = Field(
        3600.0, gt=0, description="Time in seconds for which events are kept, and streams can be resumed."
    )
    event_stream_entries: int = Field(
        2048, ge=1, le=1_000_000, description="Events that Redis keeps, of up to 30 kB each; the rest is in Postgres."
    )
    tile_ttl_seconds: int = Field(300, ge=0, description="Time in seconds that tiles of now are cached.")
    history_ttl_seconds: int = Field(7200, ge=0, description="Time in seconds that tiles of the past are cached.")
    latest_reread_seconds: float = Field(
        300.0, gt=0, description="Time in seconds between two readings of all stations' newest values from the store."
    )
    hot_places: int = Field(500, ge=0, description="Questions whose replies are renewed before they expire, at most.")
    hot_requests: float = Field(
        5.0,
        gt=0,
        description="How often a question must have been asked lately to be kept warm, each time halved by age.",
    )
    hot_half_life_seconds: float = Field(
        900.0, gt=0, description="Time in seconds after which a request counts half towards that."
    )
    warming_seconds: float = Field(10.0, gt=0, description="Time in seconds between two looks for replies to renew.")
    warming_lead_seconds: float = Field(
        30.0, ge=0, description="How many seconds before it expires a hot reply is renewed."
    )
    forecast_ttl_seconds: int = Field(
        600, ge=0, description="Time in seconds that a forecast is cached, at most to the end of the hour."
    )
    forecast_check_seconds: float = Field(
        30.0, ge=1, le=3600, description="How often in seconds the service looks whether another forecast model serves."
    )
    key_encryption_key: SecretStr = Field(
        SecretStr(""),
        description=(
            "Secret of at least 32 random characters that the secrets of alert webhooks are sealed with; to change it, set"
            " the new one and the old ones behind it, separated by spaces. Without one no rule may have a webhook."
        ),
    )
    alert_rules_per_tenant: int = Field(100, ge=0, le=100_000, description="Alert rules that a tenant may have.")
    alert_max_age_seconds: float = Field(
        21_600.0,
        gt=0,
        le=604_800,
        description="Age in seconds of a reading, from the start of its period, from which on it raises no alert.",
    )
    alert_max_gap_seconds: float = Field(
        10_800.0,
        gt=0,
        le=604_800,
        description="Time in seconds between two readings after which a rule's minimum duration begins anew.",
    )
    alert_poll_seconds: float = Field(
        0.5,
        gt=0,
        le=60,
        description="Time in seconds after which the database is asked for alerts and deliveries of other replicas.",
    )
    alert_webhook_networks: list[IPv4Network | IPv6Network] = Field(
        [],
        description=(
            "Networks that are not public to which alerts may be posted all the same, also without TLS, as a JSON list:"
            ' `["10.1.0.0/16"]`.'
        ),
    )
    alert_webhook_timeout_seconds: float = Field(
        10.0, gt=0, le=60, description="Time in seconds that an endpoint gets to take an alert."
    )
    alert_webhooks_at_once: int = Field(64, ge=1, le=1000, description="Alerts that a process posts at one time.")
    alert_webhooks_per_tenant: int = Field(
        8, ge=1, le=1000, description="Alerts of one tenant that are posted at one time, two of a rule."
    )
    alert_webhook_attempts: int = Field(
        10, ge=1, le=100, description="Tries after which an alert that no endpoint took is a dead letter."
    )
    alert_webhook_first_retry_seconds: float = Field(
        5.0, gt=0, le=3600, description="Time in seconds before the second try; it doubles each time, with jitter."
    )
    alert_webhook_longest_retry_seconds: float = Field(
        3600.0, gt=0, le=86_400, description="Longest time in seconds between two tries."
    )

    @field_validator("key_encryption_key")
    @classmethod
    def _is_random(cls, value: SecretStr) -> SecretStr:
        for part in value.get_secret_value().split():
            if len(part) < _LEAST_CHARACTERS or len(set(part)) < _LEAST_DISTINCT_CHARACTERS:
                raise ValueError(f"must be at least {_LEAST_CHARACTERS} random characters")
        return value

    def derive_keys(self, purpose: str) -> tuple[bytes, ...]:
        """Returns a key of 32 bytes from each key-encryption key, the current one's first (HKDF, RFC 5869).

        Args:
            purpose: What the keys are for; keys for different purposes tell nothing of each other.
        """
        return tuple(
            HKDF(SHA256(), _KEY_BYTES, salt=None, info=f"geomesh airquality: {purpose}".encode()).derive(part.encode())
            for part in self.key_encryption_key.get_secret_value().split()
        )
