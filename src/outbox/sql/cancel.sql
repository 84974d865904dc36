-- Ends the COPY of our own session $1, whose rest is not wanted.
SELECT pg_cancel_backend($1::integer)
