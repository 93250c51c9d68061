"""The fault tests of client/producing."""
