"""What outlives a vidpipe process: its folder, and checkpoints of the cameras' memory."""
