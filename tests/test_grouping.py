"""What the other tests take for granted of their runner."""

import os

import pytest


@pytest.mark.xdist_group("grouping")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs everything")
def test_tests_of_one_group_go_to_one_worker(request: pytest.FixtureRequest) -> None:
    """Where xdist does not hold to groups it says nothing, and each worker loads the gazetteer and starts an edge."""
    assert request.node.nodeid.endswith("@grouping")
