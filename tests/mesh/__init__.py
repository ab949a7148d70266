"""Tests of the whole mesh on the real data, through Envoy, as a client meets it."""
