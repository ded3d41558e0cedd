"""Training: a recipe and labelled video become a bundle, in stages that survive being stopped."""
