"""Which picture size, clip length and family to take: accuracy against milliseconds, from one run."""
