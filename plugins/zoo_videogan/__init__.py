"""GANs of clips: one latent for a clip (VGAN, TGAN), one for each frame (MoCoGAN), and DVD-GAN."""
