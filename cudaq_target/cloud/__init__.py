"""Pasqal Cloud and QRMI: thin clients, typed errors, jobs that survive their process."""
