"""A bundle over several media: the plan, how far it is, one medium after another."""
