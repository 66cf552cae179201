"""The order desk: intents, broker news and ticks in; sends, cancels, rows and news out.

`Desk.decide` is pure and event-sourced. The order gateway is the desk plus broker, store and links; a
backtest calls the same desk between engine and exchange.
"""
