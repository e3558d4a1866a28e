"""Recall: the newly silent → who is listed, in which arm, with which messages → their tags.

The only stage that touches the world. ``listing`` makes the list, ``tagging`` plans and
carries out its tags, ``guards`` says when nothing may be sent, ``sinks`` is where tags go, ``worklist`` is
what the team gets. The messages' templates, and what comes back from the team, are in ``contacts``.
"""
