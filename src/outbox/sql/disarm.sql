SELECT pg_advisory_unlock(1868722040, $1::integer)
