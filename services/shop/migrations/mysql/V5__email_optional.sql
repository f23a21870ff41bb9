-- Who was made by version 1 of the API has no email.
ALTER TABLE users MODIFY COLUMN email VARCHAR(320) NULL;
