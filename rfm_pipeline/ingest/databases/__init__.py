"""Orders from a shop's own database: what changed since the last read."""
