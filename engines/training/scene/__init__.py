"""Training of the shipped model `scene`: its own CNN first, then its memories, on scenes drawn for it."""
