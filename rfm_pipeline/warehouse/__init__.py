"""Where derived tables live. Knows tables, weeks and schemas, but no stage.

``duckdb`` is the one-file warehouse; ``sql`` reads the stages' SQL files; ``schema`` turns a pandera schema
into a table and checks rows against it.
"""
