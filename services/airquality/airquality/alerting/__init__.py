"""Rules about the air: what they say, when they fire, and how their owners learn of it."""
