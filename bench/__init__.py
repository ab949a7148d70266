"""What geomesh is measured by: every row is a ratio taken in one run, ours against the limit."""
