"""Training a policy on episodes, as ``jetvla train`` does."""
