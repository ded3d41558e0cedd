"""What the fault programs share: steered cameras, a vidpipe to hurt, subscribers, and what is measured of them."""
