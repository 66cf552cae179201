-- What was tried to find out whether a batch's result can be believed.

CREATE TABLE honesty_check (
    batch_id text NOT NULL,
    name text NOT NULL,
    ran_at timestamp with time zone NOT NULL,
    verdict text NOT NULL,
    findings jsonb NOT NULL,
    recorded_at timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (batch_id, name)
);
COMMENT ON TABLE honesty_check IS 'lookahead, warmup and the like: what was checked of a batch and found; the newest of each name';
