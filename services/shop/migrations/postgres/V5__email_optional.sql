-- Who was made by version 1 of the API has no email.
ALTER TABLE users ALTER COLUMN email DROP NOT NULL;
