"""The auth service: accounts, sessions, and the keys that prove who calls."""
