"""The version of pixelzoo, also read by the build."""

__version__ = "0.1.0"
