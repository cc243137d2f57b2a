"""One module per subcommand of ``jetvla``: ``configure(parser)`` and ``run(arguments) -> exit status``."""
