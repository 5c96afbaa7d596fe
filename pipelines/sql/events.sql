-- The pipeline that runs unless another is named: every topic, every record, into the domain it belongs to.

-- A source without columns takes whatever comes: JSON is mapped by the shape of each record, anything else is text.
-- '*' matches every topic whose name does not begin with two underscores.
CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION '*';

-- `domains` is no table: each record is classified, its fields are mapped to its domain's columns, and its age
-- decides the tier it is written to.
INSERT INTO domains SELECT * FROM events;
