"""Names of what Flyte has for agents, which are absent: using one says what to use here."""
