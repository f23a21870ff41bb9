CREATE TABLE users (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(200) NOT NULL,
    email VARCHAR(320) NOT NULL,
    CONSTRAINT users_email_key UNIQUE (email));

CREATE TABLE accounts (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    owner_id BIGINT NOT NULL,
    balance BIGINT NOT NULL,
    CONSTRAINT accounts_balance CHECK (balance BETWEEN 0 AND 1000000000000000),
    FOREIGN KEY (owner_id) REFERENCES users (id));

CREATE TABLE products (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    sku VARCHAR(100) COLLATE utf8mb4_bin NOT NULL,
    name VARCHAR(200) NOT NULL,
    price BIGINT NOT NULL CHECK (price >= 0),
    stock BIGINT NOT NULL,
    CONSTRAINT products_sku_key UNIQUE (sku),
    CONSTRAINT products_stock CHECK (stock >= 0));

CREATE TABLE orders (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    user_id BIGINT NOT NULL,
    total BIGINT NOT NULL,
    INDEX orders_user_id (user_id, id),
    FOREIGN KEY (user_id) REFERENCES users (id));

CREATE TABLE order_items (
    order_id BIGINT NOT NULL,
    sku VARCHAR(100) COLLATE utf8mb4_bin NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity > 0),
    price BIGINT NOT NULL,
    PRIMARY KEY (order_id, sku),
    FOREIGN KEY (order_id) REFERENCES orders (id),
    FOREIGN KEY (sku) REFERENCES products (sku));
