SELECT
  (count(*)) AS "n",
  (max(delay)) AS "worst"
FROM "flights" AS _rows
