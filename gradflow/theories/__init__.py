"""Mean-field theory of wide random networks, and what finite width adds."""
