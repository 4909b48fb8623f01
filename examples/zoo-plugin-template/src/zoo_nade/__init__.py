"""NADE for pixelzoo."""
