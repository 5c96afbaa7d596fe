-- A domain of one's own, fed by two sources that differ.

CREATE EXTERNAL TABLE orders (order_id TEXT, amount DOUBLE, country TEXT, note TEXT)
STORED AS TIERED LOCATION 'orders'
OPTIONS (
    'phrases' 'order number, basket, purchase, amount due; an order was placed and paid',
    'hot_for' '7 days',
    'warm_for' '90 days',
    'text_columns' 'note'
);

-- 'orders.*' reads orders.eu, orders.us and any that appears later.
CREATE EXTERNAL TABLE shop (order_id TEXT, amount DOUBLE, note TEXT, placed_at TIMESTAMP)
STORED AS KAFKA LOCATION 'orders.*'
OPTIONS ('event_time' 'placed_at');

CREATE EXTERNAL TABLE till (receipt BIGINT, cents BIGINT, placed_at TIMESTAMP)
STORED AS KAFKA LOCATION 'till'
OPTIONS ('event_time' 'placed_at');

-- Each leg of a UNION ALL is a branch of its own. Columns are bound by name, and those that are not named are null.
INSERT INTO orders
SELECT order_id, amount, upper(split_part(_topic, '.', 2)) AS country, note FROM shop WHERE amount > 0
UNION ALL
SELECT CAST(receipt AS TEXT), cents / 100.0, 'DE', NULL FROM till;
