"""Compare image classifiers on CCTV crops: train, explain, sweep, test."""

__version__ = "0.1.0"
