"""Atomic writes, fingerprints, spreadsheet text, database URLs. Knows no table and no stage."""
