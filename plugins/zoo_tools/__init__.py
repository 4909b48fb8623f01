"""What the zoo itself brings as a plugin: doctor, lock and new. The package has no private door to the core."""
