"""The order gateway process: intents in, orders at the broker, news and rows out; the desk decides, this carries out."""
