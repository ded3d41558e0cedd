"""What makes and what runs a model: families, training, export, bundles and back ends."""
