"""A run folder: what is written, read again and resumed."""
