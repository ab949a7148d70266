"""Forecasts: what the air will be like in the next hours, and how sure that is."""
