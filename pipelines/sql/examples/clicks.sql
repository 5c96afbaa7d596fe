-- A declared source, a filter, expressions, and several inserts from one stream.
-- Try it: thermocline check pipelines/sql/examples/clicks.sql

-- Fields by their names in the JSON; what is not named here is dropped and counted. A record that is not exactly one
-- object with these types becomes a dead letter.
CREATE EXTERNAL TABLE clicks (
    user_id BIGINT,
    url TEXT,
    referrer TEXT,
    duration_ms INT,
    ts TIMESTAMP
)
STORED AS KAFKA LOCATION 'clicks'
OPTIONS ('format' 'json', 'event_time' 'ts', 'max_disorder' '5 seconds', 'idle_after' '30 seconds');

-- A table that nobody has declared is made inside its domain, with the query's columns. The event time is the source's,
-- although it is not selected.
INSERT INTO analytics.page_views
SELECT
    user_id,
    lower(url) AS url,
    referrer IS NULL OR referrer = '' AS is_direct,
    duration_ms / 1000.0 AS seconds
FROM clicks
WHERE url IS NOT NULL AND duration_ms >= 0;

-- The same stream again, slow pages only, with where each came from. The source columns of a record are there for
-- expressions; every row has them under their own names anyway.
INSERT INTO metrics.slow_pages
SELECT url, duration_ms, _topic || '/' || CAST(_partition AS TEXT) AS origin
FROM clicks
WHERE duration_ms > 3000;
