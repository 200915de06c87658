"""One pass of a network: hooks, magnitudes, rates."""
