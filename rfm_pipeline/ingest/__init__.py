"""Ingest: order exports → order lines, the current truth of what was bought and given back.

``presets`` says how an export's columns are read, ``reading`` types one file's rows, ``loading`` brings
files into the warehouse and keeps ``order_lines`` current.
"""
