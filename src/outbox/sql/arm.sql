-- Arms the doorbell $1: while we hold this lock, a writer rings when it commits. False: a writer holds it, shared.
SELECT pg_try_advisory_lock(1868722040, $1::integer)
