"""VQ-VAE-2: pictures as maps of codes on one to three levels, and a prior for each."""
