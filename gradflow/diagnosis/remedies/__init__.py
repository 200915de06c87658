"""Remedies: one change at a time, measured and trained, the best first."""
