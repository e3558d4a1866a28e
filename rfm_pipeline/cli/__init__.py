"""The ``rfm`` command: one file a group of commands."""
