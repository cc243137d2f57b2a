"""Measurements of the whole product beside the course's node, and the table of goals.

::

    python -m jetvla.services.bench course-files FOLDER                         what the course's node loads
    python -m jetvla.services.bench start BUNDLE --engines DIR --course DIR     process start to first action
    python -m jetvla.services.bench memory BUNDLE --engines DIR --course DIR    resident memory at work
    python -m jetvla.services.bench beside BUNDLE --engines DIR                 a step with and without the guard
    python -m jetvla.services.bench growth FOLDER --episodes DATA               curves over the sizes of policies
    python -m jetvla.services.bench goals FOLDER [--write DOCUMENT]             every goal, from all the figures

``FOLDER`` has what these and ``python -m jetvla.engines.bench`` wrote with ``--json``.
"""
