"""The Respan contract: paths, parameters, the row and its vocabulary, filters, prices. Pure."""
