-- What moved the account and was no execution: deposits, withdrawals, dividends, interest, fees.

CREATE TABLE account_activities (
    activity_id text PRIMARY KEY,
    batch_id text NOT NULL,
    activity_type text NOT NULL,
    symbol text NOT NULL,
    amount numeric,
    at timestamp with time zone NOT NULL,
    description text NOT NULL
);
COMMENT ON TABLE account_activities IS 'cash and shares that moved without an order, by the broker''s word (CSD, CSW, DIV, FEE ...), US dollars, signed; written by the order gateway';
