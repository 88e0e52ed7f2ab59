"""Benchmarks of jrnn against its peers: `python -m benchmarks --help`."""
