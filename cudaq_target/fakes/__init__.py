"""Loopback stand-ins for Pasqal Cloud, Warden and a QPU, for tests; a plug-in of pytest."""
