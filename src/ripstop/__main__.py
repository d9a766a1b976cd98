"""`python -m ripstop` is `ripstop`."""

from ripstop.cli import main

if __name__ == "__main__":
    main()
