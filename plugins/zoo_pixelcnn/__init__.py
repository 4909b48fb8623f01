"""PixelCNN and its kin for pixelzoo."""
