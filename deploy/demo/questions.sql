-- Example questions of the demo. A line that begins with "-- question:" is what is asked; the statement follows, up to its
-- semicolon. Each reads hot, warm and cold as one table, save the last, which shows that a predicate can leave tiers out.

-- question: What is there, and where does it lie?
SELECT _domain, _tier, count(*) AS records, min(event_time) AS oldest, max(event_time) AS newest
FROM events
GROUP BY _domain, _tier
ORDER BY _domain, newest DESC;

-- question: Month by month, what did the shop sell, and in which tier are those rows?
SELECT date_trunc('month', event_time) AS month, _tier, count(*) AS purchases, round(sum(amount), 2) AS revenue
FROM analytics
WHERE event_name = 'purchase'
GROUP BY 1, 2
ORDER BY 1 DESC, 2;

-- question: How do the measurements of each series look in each tier?
SELECT name, _tier, count(*) AS readings, round(min(value), 1) AS least, round(avg(value), 1) AS mean, round(max(value), 1) AS most
FROM metrics
GROUP BY name, _tier
ORDER BY readings DESC
LIMIT 15;

-- question: Which build steps fail or run out of time, and how often?
SELECT activity, status, _tier, count(*) AS times, round(avg(duration_ms)) AS mean_duration_ms
FROM workflow
WHERE status IN ('failed', 'timed_out')
GROUP BY activity, status, _tier
ORDER BY times DESC
LIMIT 10;

-- question: Yesterday and today, hour by hour: visits to the shop beside edits of Wikipedia?
SELECT shop.hour, shop.visits, wiki.edits
FROM (SELECT date_trunc('hour', event_time) AS hour, count(*) AS visits
      FROM events WHERE _topic = 'shop.visits' AND event_time >= now() - INTERVAL '2 days' GROUP BY 1) AS shop
JOIN (SELECT date_trunc('hour', event_time) AS hour, count(*) AS edits
      FROM events WHERE _topic = 'wiki.edits' AND event_time >= now() - INTERVAL '2 days' GROUP BY 1) AS wiki
  ON shop.hour = wiki.hour
ORDER BY shop.hour DESC
LIMIT 12;

-- question: What kinds of work does the museum hold most of? (Cold rows alone: no hot or warm table is opened.)
SELECT collection, count(*) AS works
FROM archive
WHERE _tier = 'cold' AND collection IS NOT NULL
GROUP BY collection
ORDER BY works DESC
LIMIT 10;
