"""The Litestar application: routes by audience, guards, problem details, OpenAPI."""
