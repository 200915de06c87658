"""Frozen results, one file per command. Standard library only."""
