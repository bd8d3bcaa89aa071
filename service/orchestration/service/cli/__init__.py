"""The command line: the server, and a client of its API. Modules here import nothing heavy until a command runs."""
