"""Imports files of other publishers: `python -m airquality.importing FORMAT FILE…`; docs/air-quality/readings.md."""
