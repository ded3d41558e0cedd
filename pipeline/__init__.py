"""The live path: cameras to predictions to subscribers."""
