"""reseller: a shop for AI models on top of an upstream account."""

__version__ = "0.1.0"
