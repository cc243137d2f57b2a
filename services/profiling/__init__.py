"""Where every millisecond goes from frame to command: measured, held to a budget, compared and shown."""
