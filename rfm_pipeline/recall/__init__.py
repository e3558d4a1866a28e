"""Recall: the newly silent → who is listed, in which arm, with which words → their tags.

The only stage that touches the world. ``listing`` makes the list, ``words`` the texts, ``tagging`` the plan
and its carrying out, ``guards`` says when nothing may be sent, ``sinks`` is where tags go, ``worklist`` what
the team gets, ``outreach`` what comes back from it.
"""
