"""The SQL dialect as data: text in, values out, nothing executed."""
