-- What a person asked of a running session, by whichever program.

CREATE TABLE operator_action (
    action_id text PRIMARY KEY,
    batch_id text NOT NULL,
    at timestamp with time zone NOT NULL,
    asked_by text NOT NULL,
    through text NOT NULL,
    action text NOT NULL,
    arguments jsonb NOT NULL,
    done boolean NOT NULL,
    answer text NOT NULL,
    recorded_at timestamp with time zone NOT NULL DEFAULT now()
);
CREATE INDEX operator_action_batch ON operator_action (batch_id, at);
COMMENT ON TABLE operator_action IS 'what an operator asked of a running session: which user of the machine, through which program, with what arguments, and what was answered; at is market time, recorded_at the machine''s; written by trader';
