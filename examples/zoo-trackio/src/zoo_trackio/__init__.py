"""Training runs of pixelzoo in trackio."""
