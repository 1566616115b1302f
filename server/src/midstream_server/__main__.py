"""`python -m midstream_server` is `midstream-server`."""

from midstream_server.cli import main

if __name__ == "__main__":
    main()
