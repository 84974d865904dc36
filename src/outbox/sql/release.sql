-- Gives the lease up, on disk: $1 relay, $2 holder; whatever the epoch, which a command may have raised. The beat rises, so that no watcher takes an old look for new.
UPDATE outbox.relay SET holder = NULL, beat = beat + 1, renewed_at = clock_timestamp()
WHERE name = $1::text AND holder = $2::uuid
    AND set_config('synchronous_commit', 'on', true) IS NOT NULL
