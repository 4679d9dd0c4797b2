-- Products and orders.
CREATE TABLE products (
  id          TEXT PRIMARY KEY,
  name        TEXT NOT NULL,
  price_cents INTEGER NOT NULL CHECK (price_cents >= 0),
  stock       INTEGER NOT NULL CHECK (stock >= 0)
) STRICT;

CREATE TABLE orders (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  customer    TEXT NOT NULL,
  request_id  TEXT NOT NULL,
  total_cents INTEGER NOT NULL,
  status      INTEGER NOT NULL,
  UNIQUE (customer, request_id)
) STRICT;

CREATE TABLE items (
  order_id   INTEGER NOT NULL REFERENCES orders (id),
  product_id TEXT NOT NULL REFERENCES products (id),
  quantity   INTEGER NOT NULL CHECK (quantity > 0),
  PRIMARY KEY (order_id, product_id)
) STRICT, WITHOUT ROWID;
