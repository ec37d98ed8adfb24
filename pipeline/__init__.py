"""Many runs: plan, schedule, track and store them."""
