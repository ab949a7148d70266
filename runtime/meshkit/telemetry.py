"""Metrics, traces and logs, the same for every service."""

import logging
import sys
from collections.abc import MutableMapping
from functools import partial
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from prometheus_client import Counter, Gauge, Histogram

from meshkit.context import CURRENT
from meshkit.settings import ServiceSettings

REQUESTS = Counter("geomesh_requests_total", "Calls that ended, by RPC and gRPC status code.", ["method", "code"])
DURATION = Histogram(
    "geomesh_request_duration_seconds",
    "Time from a call's arrival to its reply.",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
IN_WORK = Gauge("geomesh_requests_in_work", "Calls in work now.")
STREAMS = Gauge("geomesh_streams_open", "Streaming calls open now, by RPC.", ["method"])


def configure_logging(settings: ServiceSettings) -> None:
    """Writes every log line, of ours and of libraries, as one JSON object on standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.CallsiteParameterAdder(
            [
                structlog.processors.CallsiteParameter.MODULE,
                structlog.processors.CallsiteParameter.FUNC_NAME,
                structlog.processors.CallsiteParameter.LINENO,
            ]
        ),
        partial(_name_service, settings.service),
        _name_request,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)


def _name_service(service: str, logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Adds which service writes, since the logs of all of them come together in one place."""
    del logger, name
    event["service"] = service
    return event


def _name_request(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Adds what finds the other lines of the same call."""
    del logger, name
    call = CURRENT.get()
    if call is not None:
        event["request_id"] = call.request_id
        event["rpc"] = call.method
        if call.trace_id:
            event["trace_id"] = call.trace_id
    return event


def configure_tracing(settings: ServiceSettings) -> trace.Tracer | None:
    """Sends spans to the collector that the settings name; returns None when they name none."""
    if not settings.otlp_endpoint:
        return None
    provider = tracer_provider(settings)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.otlp_endpoint, insecure=True)))
    trace.set_tracer_provider(provider)
    return provider.get_tracer("meshkit")


def tracer_provider(settings: ServiceSettings) -> TracerProvider:
    """Returns what makes the spans of the service, which sends them nowhere yet.

    It keeps every span that is begun: the request path throws the dice before it begins one without a parent.
    """
    return TracerProvider(
        resource=Resource.create({"service.namespace": "geomesh", "service.name": settings.service}),
        sampler=ParentBased(ALWAYS_ON),
    )


def close_tracing() -> None:
    """Sends the spans that wait."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()
