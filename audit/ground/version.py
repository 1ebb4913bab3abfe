"""The version of this package: of what a report was made by."""

__version__ = "0.1.0"
