"""Training: a recipe becomes a bundle, in stages that survive being stopped."""
