"""The trajectory service: where things have been, and what their tracks tell."""
