CREATE SCHEMA greenroom;
GRANT USAGE ON SCHEMA greenroom TO PUBLIC;

-- Which tables were written to, by oid; 0 stands for the schema, 1 for a connection that has a temporary table, which
-- would still be there for the next test, and 2 for a TRUNCATE, which may restart sequences. A table, and not a sequence or a lock, since what a transaction noted
-- must vanish with it. Nothing is unique in it, so that two transactions never wait for each other.
CREATE UNLOGGED TABLE greenroom.touched (relation oid NOT NULL);

-- Runs with the rights of its owner: the application's role cannot write to the table itself.
CREATE FUNCTION greenroom.touch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- A serializable transaction that has read this table could fail for what another one adds to it.
    IF pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) 'serializable'
       OR NOT EXISTS (SELECT FROM greenroom.touched WHERE relation OPERATOR(pg_catalog.=) TG_RELID) THEN
        INSERT INTO greenroom.touched VALUES (TG_RELID);
    END IF;
    IF TG_OP OPERATOR(pg_catalog.=) 'TRUNCATE' THEN
        INSERT INTO greenroom.touched VALUES (2);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION greenroom.touch_schema() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    lasting boolean := false;
    temporary boolean := false;
BEGIN
    IF pg_catalog.current_setting('greenroom.rewinding', true) IS NOT NULL THEN
        RETURN;
    END IF;
    IF TG_EVENT OPERATOR(pg_catalog.=) 'sql_drop' THEN
        SELECT bool_or(NOT is_temporary) INTO lasting FROM pg_catalog.pg_event_trigger_dropped_objects();
    ELSE
        SELECT bool_or(schema_name IS DISTINCT FROM 'pg_temp'), bool_or(schema_name OPERATOR(pg_catalog.=) 'pg_temp')
          INTO lasting, temporary FROM pg_catalog.pg_event_trigger_ddl_commands();
    END IF;
    INSERT INTO greenroom.touched SELECT 0 WHERE lasting UNION ALL SELECT 1 WHERE temporary;
END $$;

-- The state of each sequence in the template.
CREATE TABLE greenroom.sequences (
    sequence oid PRIMARY KEY, last_value bigint, is_called boolean NOT NULL,
    cached boolean NOT NULL  -- a connection keeps some of its values, and hands them out whatever becomes of it
);

CREATE FUNCTION greenroom.large_objects() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT format('%s %s %s %s', (SELECT count(*) FROM pg_largeobject_metadata), (SELECT sum(oid::bigint) FROM pg_largeobject_metadata),
                  (SELECT count(*) FROM pg_largeobject), (SELECT sum(xmin::text::bigint) FROM pg_largeobject)) $$;
