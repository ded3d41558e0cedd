"""Training on labelled video: clips in folders, a manifest, or long videos with marked intervals."""
