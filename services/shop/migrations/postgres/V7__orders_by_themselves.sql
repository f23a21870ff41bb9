-- Orders may be in another database than users and payments.
ALTER TABLE orders DROP CONSTRAINT orders_user_id_fkey;
ALTER TABLE payments DROP CONSTRAINT payments_order_id_fkey;
