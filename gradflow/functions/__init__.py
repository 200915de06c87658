"""Activations at points and as curves, their costs, and the chain of single neurons."""
