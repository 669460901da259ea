-- The function of the extension pg_walinspect, without the extension, which would be in the application's database.
CREATE FUNCTION greenroom.wal(
    IN start_lsn pg_lsn, IN end_lsn pg_lsn, IN show_data boolean,
    OUT start_lsn pg_lsn, OUT end_lsn pg_lsn, OUT prev_lsn pg_lsn, OUT block_id int2, OUT reltablespace oid,
    OUT reldatabase oid, OUT relfilenode oid, OUT relforknumber int2, OUT relblocknumber int8, OUT xid xid,
    OUT resource_manager text, OUT record_type text, OUT record_length int4, OUT main_data_length int4,
    OUT block_data_length int4, OUT block_fpi_length int4, OUT block_fpi_info text[], OUT description text,
    OUT block_data bytea, OUT block_fpi_data bytea
) RETURNS SETOF record LANGUAGE c STRICT AS '$libdir/pg_walinspect', 'pg_get_wal_block_info';
REVOKE EXECUTE ON FUNCTION greenroom.wal FROM PUBLIC;
