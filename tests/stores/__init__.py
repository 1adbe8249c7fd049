"""Object stores on loopback: Google's, as its clients see it, and Amazon's, with the fixtures that many tests use."""
