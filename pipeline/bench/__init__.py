"""Measuring vidpipe on the user's own machine: bare limits, one camera, and how many cameras it carries."""
