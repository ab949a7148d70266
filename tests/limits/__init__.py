"""Tests of the limits: the edge, two replicas of the limits service and a Redis of their own."""
