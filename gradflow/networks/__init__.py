"""Built-in networks: architectures, layers, initialisation, losses."""
