"""A timer of sampling for pixelzoo."""
