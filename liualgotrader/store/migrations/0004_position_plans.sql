-- Where a strategy has put the stop and the target of a position since its newest fill.

CREATE TABLE position_plans (
    algo_run_id integer NOT NULL REFERENCES algo_run (algo_run_id),
    symbol text NOT NULL,
    at timestamp with time zone NOT NULL,
    planned_stop numeric,
    planned_target numeric,
    PRIMARY KEY (algo_run_id, symbol)
);
COMMENT ON TABLE position_plans IS 'the stop and target a strategy moved; a later session takes them up; written by the order gateway';
