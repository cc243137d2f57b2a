"""Recording what the guard's core is told and what it answers, and running another guard over that.

``guard`` is a guard that notes every call, ``tap`` the socket on which the guard process offers the notes, ``recorder``
writes them into an MCAP file, ``reading`` reads it, ``replay`` runs a guard over it. The guard process imports the
first two alone, and no MCAP.
"""
