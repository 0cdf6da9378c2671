"""Figures that the documents quote, each measured again by `python -m benchmarks NAME`."""
