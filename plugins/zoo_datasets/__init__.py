"""Named data sets for pixelzoo."""
