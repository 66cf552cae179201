"""The original's address of its page of a day's sessions: `streamlit run` it, or `python` it with the options of `liu ui`."""

import sys

if "streamlit" in sys.modules:  # `streamlit run` has loaded it
    from liualgotrader.pages.app import main

    main("day")
else:
    from liualgotrader.cli import liu

    sys.argv.insert(1, "ui")
    liu.main()
