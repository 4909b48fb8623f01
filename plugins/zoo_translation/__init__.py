"""Pictures and clips from conditions: pix2pix, Everybody Dance Now."""
