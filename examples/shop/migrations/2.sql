-- What the shop has to sell.
INSERT INTO products (id, name, price_cents, stock) VALUES
  ('broom', 'Broom', 1250, 10000),
  ('bucket', 'Bucket', 799, 10000),
  ('golden-mop', 'Golden mop', 99900, 1);
