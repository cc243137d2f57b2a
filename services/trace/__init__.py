"""What the daemons ran when, as a file that ui.perfetto.dev opens."""
