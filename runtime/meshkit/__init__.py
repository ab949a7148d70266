"""meshkit: what every geomesh service gets for one line of wiring."""
