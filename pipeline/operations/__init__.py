"""Running it for real: metrics, health, what is logged, and what the service manager is told."""
