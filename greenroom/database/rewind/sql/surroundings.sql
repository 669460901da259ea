-- What can be changed without a trigger's notice: the database itself, settings of it and of its role, and large objects,
-- of which nearly no database has any: to ask for their table's size takes less time than to read it.
SELECT concat_ws('|', datallowconn, datconnlimit, datistemplate, datacl,
           (SELECT description FROM pg_shdescription WHERE objoid = d.oid AND classoid = 'pg_database'::regclass),
           (SELECT string_agg(format('%s %s %s', setdatabase, setrole, setconfig), ' ' ORDER BY setdatabase, setrole)
              FROM pg_db_role_setting WHERE setdatabase = d.oid OR setdatabase = 0 AND setrole = d.datdba),
           CASE WHEN pg_relation_size('pg_largeobject_metadata') > 0 THEN greenroom.large_objects() END)
  FROM pg_database AS d WHERE oid = {here}
