"""A shop in 30 tables of a PostgreSQL database, with everything that makes foreign keys hard to follow: chains,
diamonds, two keys to one table, keys of two columns, tables that point to themselves and to each other, odd names.
"""

from __future__ import annotations

import adbc_driver_postgresql.dbapi

from tests.postgres import Postgres

_TABLES = """
CREATE TABLE currencies (currency_code text PRIMARY KEY, name text NOT NULL);
CREATE TABLE countries (country_code text PRIMARY KEY, name text NOT NULL, currency_code text REFERENCES currencies);
CREATE TABLE regions (region_id int PRIMARY KEY, name text, country_code text NOT NULL REFERENCES countries);
CREATE TABLE cities (city_id int PRIMARY KEY, name text, region_id int REFERENCES regions);
CREATE TABLE segments (segment_id int PRIMARY KEY, name text);
CREATE TABLE customers (customer_id int PRIMARY KEY, full_name text NOT NULL, email text,
  segment_id int REFERENCES segments, home_city_id int REFERENCES cities, referred_by int REFERENCES customers);
CREATE TABLE addresses (address_id int PRIMARY KEY, street text, city_id int REFERENCES cities);
CREATE TABLE channels (channel_id int PRIMARY KEY, name text);
CREATE TABLE orders (order_id int PRIMARY KEY, customer_id int NOT NULL REFERENCES customers,
  billing_address_id int REFERENCES addresses, shipping_address_id int REFERENCES addresses,
  channel_id int REFERENCES channels, ordered_on date NOT NULL, "Status" text);
CREATE TABLE categories (category_id int PRIMARY KEY, name text, parent_id int REFERENCES categories);
CREATE TABLE suppliers (supplier_id int PRIMARY KEY, name text, iban text, city_id int REFERENCES cities);
CREATE TABLE brands (brand_id int PRIMARY KEY, name text, owner_id int REFERENCES suppliers);
CREATE TABLE "Größen" ("größe_id" int PRIMARY KEY, "Maß" text);
CREATE TABLE products (product_id int PRIMARY KEY, name text, category_id int REFERENCES categories,
  supplier_id int REFERENCES suppliers, brand_id int REFERENCES brands, "größe_id" int REFERENCES "Größen",
  weight_kg double precision);
CREATE TABLE departments (department_id int PRIMARY KEY, name text, head_id int);
CREATE TABLE employees (employee_id int PRIMARY KEY, last_name text, phone text,
  department_id int REFERENCES departments, manager_id int REFERENCES employees);
ALTER TABLE departments ADD FOREIGN KEY (head_id) REFERENCES employees;
CREATE TABLE warehouses (warehouse_id int PRIMARY KEY, city_id int REFERENCES cities,
  manager_id int REFERENCES employees);
CREATE TABLE stock (warehouse_id int REFERENCES warehouses, product_id int REFERENCES products, on_hand int NOT NULL,
  PRIMARY KEY (warehouse_id, product_id));
CREATE TABLE order_lines (order_id int REFERENCES orders, line_no int, product_id int NOT NULL REFERENCES products,
  warehouse_id int, quantity int NOT NULL, price_usd numeric(10, 2), PRIMARY KEY (order_id, line_no),
  FOREIGN KEY (warehouse_id, product_id) REFERENCES stock (warehouse_id, product_id));
CREATE TABLE carriers (carrier_id int PRIMARY KEY, name text);
CREATE TABLE shipments (shipment_id int PRIMARY KEY, order_id int REFERENCES orders,
  carrier_id int REFERENCES carriers);
CREATE TABLE reasons (reason_id int PRIMARY KEY, name text);
CREATE TABLE returns (return_id int PRIMARY KEY, order_id int, line_no int, reason_id int REFERENCES reasons,
  FOREIGN KEY (order_id, line_no) REFERENCES order_lines);
CREATE TABLE methods (method_id int PRIMARY KEY, name text);
CREATE TABLE payments (payment_id int PRIMARY KEY, order_id int REFERENCES orders, method_id int REFERENCES methods);
CREATE TABLE "OrderNotes" ("NoteId" int PRIMARY KEY, "orderId" int REFERENCES orders, "Text" text);
CREATE TABLE reviews (review_id int PRIMARY KEY, product_id int REFERENCES products,
  customer_id int REFERENCES customers, rating int);
CREATE TABLE tax_rates (country_code text REFERENCES countries, valid_from date, rate_pct numeric(4, 2),
  PRIMARY KEY (country_code, valid_from));
CREATE TABLE audit_log (at timestamptz, what text, detail text);
CREATE TABLE "empty table" (a int, b text);
COMMENT ON TABLE orders IS 'One order of a customer; "placed", not yet paid.';
COMMENT ON COLUMN orders.ordered_on IS 'The day, in the shop''s own time zone: not UTC.';
"""

_ROWS = """
INSERT INTO currencies VALUES ('EUR', 'Euro'), ('USD', 'US dollar');
INSERT INTO countries VALUES ('DE', 'Germany', 'EUR'), ('US', 'United States', 'USD'), ('XX', 'Nowhere', NULL);
INSERT INTO regions SELECT i, 'region ' || i, (ARRAY['DE', 'US', 'XX'])[1 + i % 3] FROM generate_series(1, 12) i;
INSERT INTO cities SELECT i, 'city ' || i, nullif(i % 13, 0) FROM generate_series(1, 50) i;
INSERT INTO segments SELECT i, 'segment ' || i FROM generate_series(1, 4) i;
INSERT INTO customers SELECT i, 'Person ' || i, 'person' || i || '@example.org', 1 + i % 4, nullif(i % 51, 0),
  nullif(i / 2, 0) FROM generate_series(1, 300) i;
INSERT INTO addresses SELECT i, i || ' Main Street', 1 + i % 50 FROM generate_series(1, 400) i;
INSERT INTO channels VALUES (1, 'web'), (2, 'shop');
INSERT INTO orders SELECT i, 1 + i % 300, 1 + i % 400, nullif(i % 401, 0), 1 + i % 2, date '2025-01-01' + i % 365,
  (ARRAY['open', 'paid', 'sent'])[1 + i % 3] FROM generate_series(1, 2000) i;
INSERT INTO categories SELECT i, 'category ' || i, nullif(i / 3, 0) FROM generate_series(1, 20) i;
INSERT INTO suppliers SELECT i, 'supplier ' || i,
  (ARRAY['DE89370400440532013000', 'GB82WEST12345698765432'])[1 + i % 2], 1 + i % 50
  FROM generate_series(1, 15) i;
INSERT INTO brands SELECT i, 'brand ' || i, nullif(i % 16, 0) FROM generate_series(1, 25) i;
INSERT INTO "Größen" VALUES (1, 'klein'), (2, 'groß');
INSERT INTO products SELECT i, 'product ' || i, 1 + i % 20, 1 + i % 15, 1 + i % 25, 1 + i % 2, i / 10.0
  FROM generate_series(1, 200) i;
INSERT INTO departments SELECT i, 'department ' || i, NULL FROM generate_series(1, 5) i;
INSERT INTO employees SELECT i, 'Worker' || i, '+49 30 ' || (1234000 + i), 1 + i % 5, nullif(i / 4, 0)
  FROM generate_series(1, 40) i;
UPDATE departments SET head_id = department_id;
INSERT INTO warehouses SELECT i, 1 + i % 50, 1 + i % 40 FROM generate_series(1, 6) i;
INSERT INTO stock SELECT w, p, (w * p) % 90 FROM generate_series(1, 6) w, generate_series(1, 200) p;
INSERT INTO order_lines SELECT 1 + i / 3, 1 + i % 3, 1 + i % 200, nullif(i % 7, 0), 1 + i % 9, (i % 500) / 4.0
  FROM generate_series(0, 5999) i;
INSERT INTO carriers SELECT i, 'carrier ' || i FROM generate_series(1, 3) i;
INSERT INTO shipments SELECT i, i, 1 + i % 3 FROM generate_series(1, 1500) i;
INSERT INTO reasons SELECT i, 'reason ' || i FROM generate_series(1, 5) i;
INSERT INTO returns SELECT i, i, 1, 1 + i % 5 FROM generate_series(1, 100) i;
INSERT INTO methods VALUES (1, 'card'), (2, 'invoice');
INSERT INTO payments SELECT i, i, 1 + i % 2 FROM generate_series(1, 1800) i;
INSERT INTO "OrderNotes" SELECT i, i, 'note ' || i FROM generate_series(1, 50) i;
INSERT INTO reviews SELECT i, 1 + i % 200, 1 + i % 300, 1 + i % 5 FROM generate_series(1, 700) i;
INSERT INTO tax_rates SELECT c, date '2020-01-01' + y * 365, 19 + y
  FROM unnest(ARRAY['DE', 'US']) c, generate_series(0, 4) y;
INSERT INTO audit_log SELECT timestamptz '2025-01-01 00:00Z' + i * interval '1 minute', 'read', 'detail ' || i % 3
  FROM generate_series(1, 500) i;
"""

TABLES = 30

# The wide table of the order lines as a person writes it, with the names that the wide model has.
WIDE = """
SELECT l.order_id, l.line_no, l.product_id, l.warehouse_id, l.quantity, l.price_usd::float8 AS price_usd,
  o.customer_id AS orders_customer_id, o.ordered_on AS orders_ordered_on, o."Status" AS "orders_Status",
  p.name AS products_name, p.weight_kg AS products_weight_kg, s.on_hand AS stock_on_hand,
  s.warehouse_id AS stock_warehouse_id,
  c.full_name AS customers_full_name, c.email AS customers_email, g.name AS segments_name,
  ba.street AS billing_address_street, sa.street AS shipping_address_street,
  bc.name AS billing_address_cities_name, sc.name AS shipping_address_cities_name, hc.name AS customers_cities_name,
  ch.name AS channels_name, ca.name AS categories_name, su.name AS products_suppliers_name,
  suc.name AS products_suppliers_cities_name, b.name AS brands_name, bo.name AS brands_suppliers_name,
  z."Maß" AS "grossen_Maß", w.manager_id AS warehouses_manager_id, wc.name AS warehouses_cities_name,
  e.last_name AS employees_last_name
FROM order_lines l
LEFT JOIN orders o USING (order_id)
LEFT JOIN products p ON p.product_id = l.product_id
LEFT JOIN stock s ON s.warehouse_id = l.warehouse_id AND s.product_id = l.product_id
LEFT JOIN customers c USING (customer_id) LEFT JOIN segments g USING (segment_id)
LEFT JOIN cities hc ON hc.city_id = c.home_city_id
LEFT JOIN addresses ba ON ba.address_id = o.billing_address_id LEFT JOIN cities bc ON bc.city_id = ba.city_id
LEFT JOIN addresses sa ON sa.address_id = o.shipping_address_id LEFT JOIN cities sc ON sc.city_id = sa.city_id
LEFT JOIN channels ch ON ch.channel_id = o.channel_id
LEFT JOIN categories ca ON ca.category_id = p.category_id
LEFT JOIN suppliers su ON su.supplier_id = p.supplier_id LEFT JOIN cities suc ON suc.city_id = su.city_id
LEFT JOIN brands b ON b.brand_id = p.brand_id LEFT JOIN suppliers bo ON bo.supplier_id = b.owner_id
LEFT JOIN "Größen" z ON z."größe_id" = p."größe_id"
LEFT JOIN warehouses w ON w.warehouse_id = s.warehouse_id LEFT JOIN cities wc ON wc.city_id = w.city_id
LEFT JOIN employees e ON e.employee_id = w.manager_id
ORDER BY l.order_id, l.line_no
"""


def load_thirty(server: Postgres, database: str) -> str:
    """Makes the database with its tables and rows; returns its address."""
    server.run(f"CREATE DATABASE {database}")
    uri = server.uri_of(database)
    with adbc_driver_postgresql.dbapi.connect(uri) as connection, connection.cursor() as cursor:
        for statement in f"{_TABLES}{_ROWS}".split(";\n"):
            if statement.strip():
                cursor.execute(statement)
        connection.commit()
    return uri
