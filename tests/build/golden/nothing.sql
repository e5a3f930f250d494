SELECT * FROM "reference"."airlines"
