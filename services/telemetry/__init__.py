"""What the running daemons tell outside: metrics for Prometheus, and the screen of ``jetvla top``.

All of it reads the daemons' rings of spans and ``status.json``; nothing here is in their processes.
"""
