"""The order gateway process: intents in; orders at the broker, news to consumers and rows in the database out."""
