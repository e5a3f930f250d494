"""A first product drawn up from what people have: files, a database, a contract. It proposes; people decide."""
