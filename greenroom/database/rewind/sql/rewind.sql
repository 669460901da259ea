-- What is left of the test in other connections comes first: while a transaction is open, its rows cannot be seen, let
-- alone deleted. pg_stat_get_activity itself, because the view joins two catalogs for names that nobody reads. Whether
-- there is anything is asked first, since to describe it takes twice as long.
-- A table whose triggers fire even now, or a change of what no trigger sees, is not worth a rewind: a clone is exact.
-- It returns JSON where there is something to say, and NULL after nearly every test.
CREATE OR REPLACE FUNCTION greenroom.rewind(surroundings text, here oid) RETURNS text LANGUAGE plpgsql AS $rewind$
DECLARE
    held CONSTANT int[] := coalesce(nullif(current_setting('greenroom.held', true), ''), '{{}}');
    holders CONSTANT int[] := coalesce(nullif(current_setting('greenroom.holders', true), ''), '{{}}');
    dirty oid[];
    noted oid;
    leftovers jsonb;
    these bigint;
    deleted bigint := 0;
    cached boolean;
BEGIN
    IF EXISTS (SELECT FROM pg_stat_get_activity(NULL)
                WHERE state <> 'idle' AND datid = here AND pid <> pg_backend_pid() AND backend_type = 'client backend'
                  AND pid <> ALL (held))
       OR EXISTS (SELECT FROM pg_lock_status() WHERE locktype = 'advisory' AND database = here AND pid <> ALL (holders))
       OR EXISTS (SELECT FROM pg_prepared_xact() WHERE dbid = here) THEN
        SELECT jsonb_agg(jsonb_build_object(
                   'pid', pid, 'state', state, 'query', query,
                   'age', extract(epoch FROM clock_timestamp() - coalesce(xact_start, state_change)),
                   'holds', CASE WHEN state = 'idle' THEN 'an advisory lock' END))
          INTO leftovers
          FROM pg_stat_get_activity(NULL)
         WHERE datid = here AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND pid <> ALL (held)
           AND (state <> 'idle' OR pid IN (SELECT pid FROM pg_lock_status() WHERE locktype = 'advisory' AND database = here)
                AND pid <> ALL (holders));
        SELECT coalesce(leftovers || prepared, prepared, leftovers) INTO leftovers
          FROM (SELECT jsonb_agg(jsonb_build_object(
                    'gid', gid, 'state', 'prepared', 'query', format('PREPARE TRANSACTION %L', gid),
                    'age', extract(epoch FROM clock_timestamp() - prepared)))
                  FROM pg_prepared_xact() WHERE dbid = here) AS found(prepared);
        IF leftovers IS NOT NULL THEN
            RETURN jsonb_build_object('leftovers', leftovers);
        END IF;
    END IF;
    -- In one statement: what a task that still runs notes after it is the next rewind's.
    WITH noted AS (DELETE FROM greenroom.touched RETURNING relation) SELECT array_agg(DISTINCT relation) INTO dirty FROM noted;
    IF dirty && ARRAY[{beyond}]::oid[] OR surroundings IS DISTINCT FROM (
{surroundings}) THEN
        RETURN jsonb_build_object('beyond', true);
    END IF;
    IF dirty IS NOT NULL THEN
        FOREACH noted IN ARRAY dirty LOOP
{tables}        END LOOP;
    END IF;
{sequences}    IF cached OR 1 = ANY (dirty) OR deleted > {many} THEN
        RETURN jsonb_build_object(
            'connections', coalesce(cached OR 1 = ANY (dirty), false), 'vacuum', deleted > {many});
    END IF;
    RETURN NULL;
END $rewind$;
