"""What the server that issues and the services that verify agree on: the access token and the revocation feed."""
