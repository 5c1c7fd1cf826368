"""Those who confirm who somebody is: login providers."""
