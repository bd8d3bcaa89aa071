"""The OpenAPI document of a gateway, made of its routes, and a page that shows it."""
