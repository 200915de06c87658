"""Public model definitions, built from their configs: small, with random weights, offline.

One module per package, or per group of small packages; each has ``MODELS``: a builder by name.
"""
