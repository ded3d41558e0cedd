"""The configuration: one YAML file, checked whole, then one frozen record."""
