"""Watching the air: from the transaction that stores readings to whoever wants to know of them."""
