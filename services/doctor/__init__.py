"""What is ready on this machine and what is not, one module for each theme.

A check takes a :class:`~jetvla.services.doctor.patient.Patient` and gives findings; ``examination`` is the table of all
checks, ``page`` and ``archive`` are the two ways to hand the findings on.
"""
