CREATE TRIGGER greenroom_touch AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT WHEN (pg_catalog.current_setting('greenroom.rewinding', true) IS NULL)
    EXECUTE FUNCTION greenroom.touch();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER greenroom_touch;
