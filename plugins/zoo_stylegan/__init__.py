"""Progressive GAN, StyleGAN and StyleGAN2."""
