"""Tests of the edge with nothing behind it but one process, which misbehaves as a test needs it to."""
