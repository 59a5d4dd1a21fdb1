-- Names are written with and without accents: "lodz" finds "Łódź". The extension is a trusted one, so that the owner of
-- the database may create it.
CREATE EXTENSION IF NOT EXISTS unaccent SCHEMA public;
CREATE TEXT SEARCH CONFIGURATION event_words (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION event_words
    ALTER MAPPING FOR word, hword, hword_part WITH public.unaccent, simple;

-- The words of a text. lower has a collation because the database's own may know only the letters of ASCII.
CREATE FUNCTION event_words(text) RETURNS tsvector LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN to_tsvector('event_words', lower(normalize($1, NFC) COLLATE pg_c_utf8));

-- A query for all words of a text or, because people search while they type, for words that start with them. It is null
-- if the text has no word.
CREATE FUNCTION event_query(text) RETURNS tsquery LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT string_agg('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || ''':*', ' & ')::tsquery
        FROM unnest(event_words($1)));

DROP INDEX events_search;
ALTER TABLE events DROP COLUMN search;
ALTER TABLE events
    ADD COLUMN search    tsvector GENERATED ALWAYS AS (
        event_words(name || ' ' || description || ' ' || venue_name || ' ' || venue_address)) STORED,
    ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC'; -- of the IANA database
CREATE INDEX events_search ON events USING gin (search);

---- create above / drop below ----

DROP INDEX events_search;
ALTER TABLE events DROP COLUMN time_zone, DROP COLUMN search;
DROP FUNCTION event_query(text), event_words(text);
DROP TEXT SEARCH CONFIGURATION event_words;
-- The extension stays, because it may have been there before.
ALTER TABLE events ADD COLUMN search tsvector GENERATED ALWAYS AS (
    to_tsvector('simple', name || ' ' || description || ' ' || venue_name || ' ' || venue_address)) STORED;
CREATE INDEX events_search ON events USING gin (search);
