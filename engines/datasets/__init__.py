"""Labelled video: class folders, manifests and marked intervals become one kind of dataset, split by group."""
