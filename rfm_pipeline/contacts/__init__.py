"""How customers can be reached, who opted out, and what came of contacting them.

Reads ``contacts/``, ``suppression/`` and ``outreach/`` of a home. Knows no list and no tag.
"""
