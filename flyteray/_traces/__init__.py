"""Traces of OpenTelemetry: who asks for them, the spans of a process, and how they leave it."""
