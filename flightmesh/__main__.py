"""``python -m flightmesh``: the command line under the interpreter's own name. Nothing else belongs here."""

from flightmesh.cli import main

if __name__ == "__main__":
    main()
