"""Diagnose: order lines → activity → RFM → segments → silent churners → the newly silent.

Each table is one SQL file here, written to be read; ``pipeline`` runs them for a range of weeks.
"""
