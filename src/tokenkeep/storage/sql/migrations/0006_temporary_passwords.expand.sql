-- When a temporary password ends, which is good for nothing but setting another one. Empty where the password lasts.

ALTER TABLE accounts ADD COLUMN password_expires_at BIGINT;
