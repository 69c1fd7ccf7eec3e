"""The warehouse: ClickHouse, which answers questions about everybody. It can be built anew."""
