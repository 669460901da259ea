    -- What the server has logged of sequences since the last rewind, instead of each sequence. That is exact: a sequence
    -- that was set, or that was never called, logs the next value that is drawn from it, also if that is rolled back
    -- (src/backend/commands/sequence.c; the 32 values after it are not logged, so whatever is logged is set). A rewind
    -- sets what it finds, and the first one all that are called. Three cases are left to reading each: TRUNCATE, which may
    -- restart a sequence in a new file that is not logged; much that was logged, by other workers, say; and a new file of
    -- the log, because the old one may be gone.
    DECLARE
        since CONSTANT pg_lsn := nullif(current_setting('greenroom.since', true), '');
        own CONSTANT xid := nullif(current_setting('greenroom.own', true), '');
        -- An empty message, since it can be told to write the log out, up to its own end. Nothing else can.
        upto CONSTANT pg_lsn := pg_logical_emit_message(false, 'greenroom', '', true);
        logged oid[];
    BEGIN
        IF upto - since < {window} AND pg_walfile_name(since) = pg_walfile_name(upto) AND 2 <> ALL (coalesce(dirty, '{{}}')) THEN
            logged := ARRAY(SELECT DISTINCT pg_filenode_relation(reltablespace, relfilenode)::oid
                              FROM greenroom.wal(since, upto, false)
                             WHERE resource_manager = 'Sequence' AND reldatabase = here AND xid IS DISTINCT FROM own);
            SELECT bool_or(CASE WHEN setval(sequence::regclass, last_value, is_called) IS NOT NULL THEN s.cached END)
              INTO cached FROM greenroom.sequences AS s WHERE sequence = ANY (logged);
        ELSE
            SELECT bool_or(CASE WHEN setval(sequence::regclass, last_value, is_called) IS NOT NULL THEN moved END)
              INTO cached FROM ({all}) AS found;
        END IF;
        -- The next rewind looks from here, and knows by its transaction what this one has set.
        PERFORM set_config('greenroom.since', upto::text, false),
                set_config('greenroom.own', coalesce(pg_current_xact_id_if_assigned()::xid::text, ''), false);
    END;
