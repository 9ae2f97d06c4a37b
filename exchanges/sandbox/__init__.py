"""A simulated market, served over loopback in the wire protocols of the exchanges. Nothing in it comes from a real exchange."""
