"""The policy process: see, think, send."""
