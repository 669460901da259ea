CREATE TABLE provider (id serial PRIMARY KEY, name varchar NOT NULL UNIQUE);
CREATE TABLE connection (id serial PRIMARY KEY, provider_id int NOT NULL UNIQUE REFERENCES provider);
CREATE TABLE token (id serial PRIMARY KEY, connection_id int NOT NULL UNIQUE REFERENCES connection, value varchar NOT NULL);
