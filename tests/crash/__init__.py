"""The real server in its own process, killed at every moment that matters."""
