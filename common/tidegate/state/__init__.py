"""What this root remembers between commands: bundles, names, channels, jobs, the floor of time, the ledger's outbox.

One SQLite file, `state.db`. A step changes its rows and queues its ledger entry in one transaction (`db.State`);
the other modules are small typed functions over one table each, and take the open `Transaction`.
"""
