WITH _keep AS (
  SELECT
    "carrier" AS "code",
    "origin",
    "delay" AS "late"
  FROM "flights"
),
_cast AS (
  SELECT
    "code",
    CAST("origin" AS VARCHAR) AS "origin",
    CAST("late" AS DOUBLE) AS "late"
  FROM _keep
),
_filter AS (
  SELECT * FROM _cast
  WHERE (
    late IS NOT NULL -- cancelled ones
  )
  AND (origin IN ('EWR', 'JFK'))
),
_derive AS (
  SELECT
    *,
    (late / 60) AS "hours",
    (
      CASE
        WHEN hours > 0 THEN true
        ELSE false
      END
    ) AS "is_late"
  FROM _filter
),
_numbered AS (
  SELECT *, row_number() OVER () AS _row FROM _derive
),
_dedupe AS (
  SELECT * EXCLUDE (_row) FROM _numbered
  QUALIFY row_number() OVER (PARTITION BY "code", "origin" ORDER BY _row) = 1
  ORDER BY _row
),
_join_1 AS (
  SELECT
    _left.*,
    _right."name"
  FROM _dedupe AS _left
  INNER JOIN "reference"."airlines" AS _right
    ON _left."code" = _right."carrier"
),
_lookup_1 AS (
  SELECT
    _left.*,
    _right."Since" AS "since"
  FROM _join_1 AS _left
  LEFT JOIN "reference"."airlines" AS _right
    ON _left."code" = _right."carrier"
)
SELECT
  _rows."name",
  (count(*)) AS "flights",
  (avg(late)) AS "late"
FROM _lookup_1 AS _rows
GROUP BY _rows."name"
ORDER BY _rows."name"

-- lookup in reference.airlines
WITH _keep AS (
  SELECT
    "carrier" AS "code",
    "origin",
    "delay" AS "late"
  FROM "flights"
),
_cast AS (
  SELECT
    "code",
    CAST("origin" AS VARCHAR) AS "origin",
    CAST("late" AS DOUBLE) AS "late"
  FROM _keep
),
_filter AS (
  SELECT * FROM _cast
  WHERE (
    late IS NOT NULL -- cancelled ones
  )
  AND (origin IN ('EWR', 'JFK'))
),
_derive AS (
  SELECT
    *,
    (late / 60) AS "hours",
    (
      CASE
        WHEN hours > 0 THEN true
        ELSE false
      END
    ) AS "is_late"
  FROM _filter
),
_numbered AS (
  SELECT *, row_number() OVER () AS _row FROM _derive
),
_dedupe AS (
  SELECT * EXCLUDE (_row) FROM _numbered
  QUALIFY row_number() OVER (PARTITION BY "code", "origin" ORDER BY _row) = 1
  ORDER BY _row
),
_join_1 AS (
  SELECT
    _left.*,
    _right."name"
  FROM _dedupe AS _left
  INNER JOIN "reference"."airlines" AS _right
    ON _left."code" = _right."carrier"
),
_keys AS (
  SELECT DISTINCT "code" AS key_1 FROM _join_1 WHERE "code" IS NOT NULL
),
_failing AS (
  SELECT _left.key_1, count(_right."carrier") AS matches
  FROM _keys AS _left
  LEFT JOIN "reference"."airlines" AS _right
    ON _left.key_1 = _right."carrier"
  GROUP BY _left.key_1
  HAVING count(_right."carrier") <> 1
)
SELECT CAST(key_1 AS VARCHAR) AS key_1, matches, count(*) OVER () AS failing
FROM _failing
ORDER BY _failing.key_1
LIMIT 5
