"""The reliability goals R1 to R19, each with its fault injected for real."""
