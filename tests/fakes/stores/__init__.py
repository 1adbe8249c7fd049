"""Object stores on loopback: fakes of Google's and Amazon's, with the fixtures that many tests use."""
