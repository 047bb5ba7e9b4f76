"""The company sites: what they answer to a browser, a crawler and a conditional request."""
