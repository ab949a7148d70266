"""What a service writes of itself."""

import json
import subprocess
import sys

_PROGRAM = """
import logging
import time
import structlog
from meshkit.context import CURRENT, RequestContext
from meshkit.settings import ServiceSettings
from meshkit.telemetry import configure_logging

class Settings(ServiceSettings, service="spatial-index"):
    pass

configure_logging(Settings())
structlog.get_logger("ours").info("before")
CURRENT.set(RequestContext("/probe", {"x-request-id": "r-1", "traceparent": "00-abc-def-00"}, time.monotonic()))
logging.getLogger("theirs").warning("during")
try:
    1 / 0
except ZeroDivisionError as error:
    structlog.get_logger("ours").error("after", exc_info=error)
structlog.get_logger("ours").debug("nobody asked")
"""


def test_every_log_line_is_json_that_says_who_writes_and_of_which_call() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True)
    before, during, after = map(json.loads, done.stderr.splitlines())
    assert [each["message"] for each in (before, during, after)] == ["before", "during", "after"]
    assert [each["level"] for each in (before, during, after)] == ["info", "warning", "error"]
    for line in (before, during, after):
        assert line["service"] == "spatial-index"
        assert {"timestamp", "logger", "module", "func_name", "lineno"} <= line.keys()
    assert "request_id" not in before
    for line in (during, after):
        assert (line["request_id"], line["rpc"], line["trace_id"]) == ("r-1", "/probe", "abc")
    assert "ZeroDivisionError" in after["exception"]
