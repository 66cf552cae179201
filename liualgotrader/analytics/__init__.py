"""Pure figures about what was traded: executions come in, round trips, gains and summaries go out."""
