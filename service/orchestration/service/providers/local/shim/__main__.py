"""Runs the supervisor as a script: ``python -I -S <this folder>/__main__.py <instance folder>``."""

import sys

if __name__ == "__main__":
    # Isolated mode leaves this folder's parent off the path; it goes last, so that it hides nothing of the library.
    sys.path.append(__file__.rsplit("/", 2)[0])
    __import__("shim.supervisor", fromlist=["main"]).main()
