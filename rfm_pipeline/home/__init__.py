"""A shop's home folder: what it holds, and how its warehouse is opened."""
