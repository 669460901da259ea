-- The functions of uuid-ossp 1.1 without its C library: the same names, arguments and results, as RFC 9562 defines them.
-- https://www.postgresql.org/docs/18/uuid-ossp.html

\echo Use CREATE EXTENSION "uuid-ossp" to load this file. \quit

CREATE FUNCTION uuid_nil() RETURNS uuid
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
RETURN '00000000-0000-0000-0000-000000000000'::uuid;

CREATE FUNCTION uuid_ns_dns() RETURNS uuid
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
RETURN '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid;

CREATE FUNCTION uuid_ns_url() RETURNS uuid
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
RETURN '6ba7b811-9dad-11d1-80b4-00c04fd430c8'::uuid;

CREATE FUNCTION uuid_ns_oid() RETURNS uuid
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
RETURN '6ba7b812-9dad-11d1-80b4-00c04fd430c8'::uuid;

CREATE FUNCTION uuid_ns_x500() RETURNS uuid
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
RETURN '6ba7b814-9dad-11d1-80b4-00c04fd430c8'::uuid;

CREATE FUNCTION uuid_generate_v4() RETURNS uuid
VOLATILE STRICT PARALLEL SAFE LANGUAGE sql
RETURN pg_catalog.gen_random_uuid();

-- The address of the computer is none of a database's: what RFC 9562 (6.10) says to do without one, with 47 random bits
-- that are the same for each call in this cluster.
CREATE FUNCTION uuid_generate_v1() RETURNS uuid
VOLATILE STRICT PARALLEL SAFE LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    ticks text := lpad(to_hex(122192928000000000 + (extract(epoch FROM clock_timestamp()) * 10000000)::bigint), 16, '0');
    node bytea := decode(substr(md5((SELECT system_identifier FROM pg_control_system())::text), 1, 12), 'hex');
BEGIN
    RETURN substr(ticks, 9, 8) || '-' || substr(ticks, 5, 4) || '-1' || substr(ticks, 2, 3)
        || '-' || substr(gen_random_uuid()::text, 20, 4)
        || '-' || encode(set_byte(node, 0, get_byte(node, 0) | 1), 'hex');
END $$;

-- As v1, with a random multicast address for each call.
CREATE FUNCTION uuid_generate_v1mc() RETURNS uuid
VOLATILE STRICT PARALLEL SAFE LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    ticks text := lpad(to_hex(122192928000000000 + (extract(epoch FROM clock_timestamp()) * 10000000)::bigint), 16, '0');
    node bytea := substr(uuid_send(gen_random_uuid()), 11);
BEGIN
    RETURN substr(ticks, 9, 8) || '-' || substr(ticks, 5, 4) || '-1' || substr(ticks, 2, 3)
        || '-' || substr(gen_random_uuid()::text, 20, 4)
        || '-' || encode(set_byte(node, 0, get_byte(node, 0) | 3), 'hex');
END $$;

CREATE FUNCTION uuid_generate_v3(namespace uuid, name text) RETURNS uuid
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    digest bytea := decode(md5(uuid_send(namespace) || convert_to(name, getdatabaseencoding())), 'hex');
BEGIN
    digest := set_byte(digest, 6, (get_byte(digest, 6) & 15) | 48);
    RETURN encode(set_byte(digest, 8, (get_byte(digest, 8) & 63) | 128), 'hex');
END $$;

-- PostgreSQL has no SHA-1 that SQL could call: this is FIPS 180-4, 6.1.2, in numbers of 64 bits cut to 32.
CREATE FUNCTION uuid_generate_v5(namespace uuid, name text) RETURNS uuid
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    mask CONSTANT bigint := 4294967295;
    message bytea := uuid_send(namespace) || convert_to(name, getdatabaseencoding());
    size CONSTANT bigint := length(message);
    h bigint[] := ARRAY[1732584193, 4023233417, 2562383102, 271733878, 3285377520];
    w bigint[];
    a bigint; b bigint; c bigint; d bigint; e bigint; f bigint; k bigint; t bigint;
    digest bytea := '';
BEGIN
    message := message || '\x80'::bytea || decode(repeat('00', ((119 - size % 64) % 64)::int), 'hex') || int8send(size * 8);
    FOR start IN 0 .. length(message) / 64 - 1 LOOP
        FOR i IN 0 .. 15 LOOP
            w[i] := 0;
            FOR j IN 0 .. 3 LOOP
                w[i] := (w[i] << 8) | get_byte(message, start * 64 + i * 4 + j);
            END LOOP;
        END LOOP;
        FOR i IN 16 .. 79 LOOP
            t := w[i - 3] # w[i - 8] # w[i - 14] # w[i - 16];
            w[i] := ((t << 1) | (t >> 31)) & mask;
        END LOOP;
        a := h[1]; b := h[2]; c := h[3]; d := h[4]; e := h[5];
        FOR i IN 0 .. 79 LOOP
            IF i < 20 THEN
                f := (b & c) | ((b # mask) & d); k := 1518500249;
            ELSIF i < 40 THEN
                f := b # c # d; k := 1859775393;
            ELSIF i < 60 THEN
                f := (b & c) | (b & d) | (c & d); k := 2400959708;
            ELSE
                f := b # c # d; k := 3395469782;
            END IF;
            t := ((((a << 5) | (a >> 27)) & mask) + f + e + k + w[i]) & mask;
            e := d; d := c; c := ((b << 30) | (b >> 2)) & mask; b := a; a := t;
        END LOOP;
        h := ARRAY[(h[1] + a) & mask, (h[2] + b) & mask, (h[3] + c) & mask, (h[4] + d) & mask, (h[5] + e) & mask];
    END LOOP;
    FOR i IN 1 .. 4 LOOP
        digest := digest || substr(int8send(h[i]), 5);
    END LOOP;
    digest := set_byte(digest, 6, (get_byte(digest, 6) & 15) | 80);
    RETURN encode(set_byte(digest, 8, (get_byte(digest, 8) & 63) | 128), 'hex');
END $$;
