"""The local stack: one command from a clone to a running mesh."""
