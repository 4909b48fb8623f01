"""Blocks that several plugins share."""
