-- The tables of the example jobs; the same text runs on SQLite and PostgreSQL, any number of times.
CREATE TABLE IF NOT EXISTS products (
	sku   text PRIMARY KEY,
	price bigint NOT NULL,          -- cents
	free  bigint NOT NULL CHECK (free >= 0)
);
CREATE TABLE IF NOT EXISTS orders (
	id     text PRIMARY KEY,
	state  text NOT NULL,           -- reserved, paid, released
	total  bigint,                  -- cents
	charge text                     -- the payment provider's id
);
CREATE TABLE IF NOT EXISTS order_lines (
	order_id text NOT NULL REFERENCES orders(id),
	line     bigint NOT NULL,
	sku      text NOT NULL REFERENCES products(sku),
	qty      bigint NOT NULL,
	price    bigint NOT NULL,       -- of one, when it was ordered
	PRIMARY KEY (order_id, line)
);
CREATE TABLE IF NOT EXISTS audit (
	job_id text NOT NULL,
	who    text NOT NULL,
	what   text NOT NULL
);
INSERT INTO products(sku, price, free) VALUES ('espresso', 250, 1000), ('cappuccino', 320, 1000), ('beans-1kg', 1890, 10)
	ON CONFLICT DO NOTHING;
