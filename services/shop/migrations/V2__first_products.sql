-- A few products to begin with. A database that is older than its migrations may have some.
INSERT INTO products (sku, name, price, stock)
SELECT sku, name, price, stock FROM (
    SELECT 'tea' AS sku, 'Green tea, 100 g' AS name, 790 AS price, 500 AS stock
    UNION ALL SELECT 'cup', 'Cup, blue', 1250, 200
    UNION ALL SELECT 'pot', 'Teapot, iron', 6900, 20
) AS first_ones
WHERE NOT EXISTS (SELECT 1 FROM products);
