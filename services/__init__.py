"""The ``jetvla`` command and the wiring of its daemons."""
