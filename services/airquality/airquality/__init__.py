"""The air-quality service: what stations measure, and what it says about the air at a place and time."""
