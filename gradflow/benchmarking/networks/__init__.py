"""The image classifiers that the benchmark trains."""
