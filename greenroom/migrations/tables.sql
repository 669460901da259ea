-- The tables that rows can be put into: with their columns, foreign keys and checks, as JSON. The parameters are the schema and the
-- name of Alembic's own table.
SELECT json_build_object(
    'oid', c.oid::bigint,
    'file', c.relfilenode::bigint,
    'name', c.oid::regclass::text,
    'columns', (
        SELECT coalesce(json_agg(json_build_object(
            'number', a.attnum,
            'name', quote_ident(a.attname),
            'type', format_type(a.atttypid, a.atttypmod),
            'base', b.typname,
            'modifier', CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
            'kind', CASE WHEN b.typtype = 'e' THEN 'e' WHEN b.typcategory = 'A' THEN 'A' ELSE '' END,
            'labels', (SELECT coalesce(json_agg(e.enumlabel ORDER BY e.enumsortorder), '[]') FROM pg_enum e WHERE e.enumtypid = b.oid),
            'required', (a.attnotnull OR t.typnotnull) AND NOT a.atthasdef AND a.attidentity = '' AND t.typdefault IS NULL,
            'default', a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '',
            'checks', (SELECT coalesce(json_agg(pg_get_constraintdef(k.oid)), '[]') FROM pg_constraint k
                        WHERE k.contype = 'c' AND (k.conrelid = c.oid AND a.attnum = ANY (k.conkey) OR k.contypid = t.oid))
        ) ORDER BY a.attnum), '[]')
          FROM pg_attribute a
          JOIN pg_type t ON t.oid = a.atttypid
          JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'keys', (
        SELECT coalesce(json_agg(json_build_object(
            'columns', k.conkey, 'target', k.confrelid::bigint, 'name', k.confrelid::regclass::text,
            'targets', (SELECT json_agg(quote_ident(a.attname) ORDER BY u.place) FROM unnest(k.confkey) WITH ORDINALITY u(number, place)
                          JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number)
        ) ORDER BY cardinality(k.conkey) DESC, k.conname), '[]')
          FROM pg_constraint k WHERE k.contype = 'f' AND k.conrelid = c.oid),
    'checks', (
        SELECT coalesce(json_object_agg(x.name, x.columns), '{}')
          FROM (SELECT k.conname AS name, k.conkey::int[] AS columns FROM pg_constraint k WHERE k.contype = 'c' AND k.conrelid = c.oid
                 UNION ALL
                SELECT o.relname, i.indkey::int[] FROM pg_index i JOIN pg_class o ON o.oid = i.indexrelid
                 WHERE i.indrelid = c.oid AND i.indisunique) x)
)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT (c.relname = %(table)s AND n.nspname = coalesce(%(schema)s, n.nspname))
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY c.oid
