"""How the Debian package is made; runs on a build host."""
