"""Where the time of a step goes, block by block of the policy, and how near each comes to what the machine can."""
