-- What the original's tables could not hold, and a trigger that booked too much.

-- Prices below a cent were rounded, prices from a million and gains from 1000 % refused.
ALTER TABLE new_trades
    ALTER COLUMN price TYPE numeric(18, 6),
    ALTER COLUMN stop_price TYPE numeric(18, 6),
    ALTER COLUMN target_price TYPE numeric(18, 6),
    ALTER COLUMN trade_fee TYPE numeric(18, 6);
ALTER TABLE trades
    ALTER COLUMN buy_price TYPE numeric(18, 6),
    ALTER COLUMN sell_price TYPE numeric(18, 6);
ALTER TABLE gain_loss
    ALTER COLUMN gain_percentage TYPE numeric(18, 4),
    ALTER COLUMN gain_value TYPE numeric(24, 6);
ALTER TABLE trade_analysis
    ALTER COLUMN gain_percentage TYPE numeric(18, 4),
    ALTER COLUMN gain_value TYPE numeric(24, 6),
    ALTER COLUMN r_units TYPE numeric(18, 4);
ALTER TABLE stock_ohlc ALTER COLUMN volume TYPE bigint;

-- Money is booked exactly. By way of text, because a direct cast would cut a float to 15 digits.
ALTER TABLE accounts
    ALTER COLUMN balance TYPE numeric USING balance::text::numeric,
    ALTER COLUMN credit_line TYPE numeric USING credit_line::text::numeric;
ALTER TABLE account_transactions ALTER COLUMN amount TYPE numeric USING amount::text::numeric;
ALTER TABLE portfolio ALTER COLUMN size TYPE numeric;
DO $$
DECLARE
    old record;
BEGIN
    FOR old IN
        SELECT conname AS name FROM pg_constraint
        WHERE conrelid = 'accounts'::regclass AND contype = 'c' AND pg_get_constraintdef(oid) ~ 'credit_line'
    LOOP
        EXECUTE format('ALTER TABLE accounts DROP CONSTRAINT %I', old.name);
    END LOOP;
END
$$;
ALTER TABLE accounts ADD CONSTRAINT accounts_check CHECK (credit_line > 0 OR NOT allow_negative);
CREATE INDEX IF NOT EXISTS account_transactions_account_id_idx ON account_transactions (account_id);

-- An id needs no extension.
ALTER TABLE trade_plan ALTER COLUMN trade_plan_id SET DEFAULT gen_random_uuid();

-- The original's triggers on these two tables, whatever they are called; a user's own triggers stay.
DO $$
DECLARE
    old record;
BEGIN
    FOR old IN
        SELECT t.tgname AS name, t.tgrelid::regclass AS owner
        FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE NOT t.tgisinternal
          AND ((t.tgrelid = 'account_transactions'::regclass AND p.prosrc ~* 'update\s+(public\.)?accounts')
            OR (t.tgrelid = 'trade_plan'::regclass AND p.prosrc ~* 'modify_tstamp'))
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', old.name, old.owner);
    END LOOP;
END
$$;

-- A transaction is booked when it is inserted, and a changed one by what it changed. Whole statements at
-- once, because a session books thousands of fills to one account. Removing transactions leaves the
-- balance alone, as in the original: `Accounts.clear_balance` sets it.
CREATE FUNCTION liu_book_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE accounts
    SET balance = balance + booked.amount, modified_tstamp = now()
    FROM (SELECT account_id, sum(amount) AS amount FROM added GROUP BY account_id) AS booked
    WHERE accounts.account_id = booked.account_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER book_inserted AFTER INSERT ON account_transactions
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION liu_book_inserted();

CREATE FUNCTION liu_book_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE accounts
    SET balance = balance + booked.amount, modified_tstamp = now()
    FROM (
        SELECT account_id, sum(amount) AS amount
        FROM (SELECT account_id, amount FROM added UNION ALL SELECT account_id, -amount FROM removed) AS moves
        GROUP BY account_id
        HAVING sum(amount) <> 0
    ) AS booked
    WHERE accounts.account_id = booked.account_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER book_updated AFTER UPDATE ON account_transactions
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION liu_book_updated();

CREATE FUNCTION liu_touch_modified() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.modify_tstamp = now();
    RETURN NEW;
END
$$;
CREATE TRIGGER touch_modified BEFORE UPDATE ON trade_plan
    FOR EACH ROW EXECUTE FUNCTION liu_touch_modified();
