"""The unit tests of client/producing."""
