"""Names to places and places to names."""
