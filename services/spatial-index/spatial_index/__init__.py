"""The spatial-index service: cells of the Earth, entities on it, and what is near."""
