"""`python -m liualgotrader`: the command `liu`."""

from liualgotrader.cli.liu import main

if __name__ == "__main__":
    main()
