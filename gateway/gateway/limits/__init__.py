"""The rate-limit service: how often each caller may call, counted for all edges together."""
