"""Further inputs beside the video: sent over ZeroMQ, received without waiting, packed behind a frame's features."""
