"""All the SQL: set-based statements over `models.tables`, by noun.

Each function takes a connection and does one statement, whatever the number of rows; transactions
belong to the caller. What changes a user expects the caller to hold that user's lock
(`users.lock_users`).
"""
