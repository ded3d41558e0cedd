"""Capture: one process per camera reads, samples and resizes frames into shared memory."""
