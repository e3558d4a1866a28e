"""The Spark engine: the tables that grow with the shop, made on a cluster by the same SQL."""
