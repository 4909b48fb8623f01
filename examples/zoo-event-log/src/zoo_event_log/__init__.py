"""A log of training runs for pixelzoo."""
